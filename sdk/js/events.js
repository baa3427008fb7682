/** The listeners of a client's events. Knows nothing of the events themselves. */

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
   * Runs an application's handler: what it throws is emitted as `error`, and disturbs nothing here.
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
