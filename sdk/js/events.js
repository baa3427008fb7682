/** Who listens to what a client tells. Knows nothing of what is told. */

export class Events {
  #target = new EventTarget();

  /**
   * @param {string} type
   * @param {(detail: any) => void} listener
   * @returns {() => void} Stops listening.
   */
  on(type, listener) {
    const forward = (/** @type {any} */ event) => listener(event.detail);
    this.#target.addEventListener(type, forward);
    return () => this.#target.removeEventListener(type, forward);
  }

  /**
   * @param {string} type
   * @param {unknown} detail
   */
  emit(type, detail) {
    this.#target.dispatchEvent(new CustomEvent(type, { detail }));
  }

  /**
   * Runs an application's handler: its mistakes are told as `error`, and disturb nothing here.
   *
   * @param {() => void} handler
   */
  hand(handler) {
    try {
      handler();
    } catch (error) {
      this.emit("error", error);
    }
  }
}
