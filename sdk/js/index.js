/** What `import "rialto-client"` offers; nothing else in this package is public. */

export { RialtoClient } from "./client.js";
export { Subscription } from "./subscription.js";
export { ConnectionLostError, NotConnectedError, RialtoError, TimeoutError } from "./errors.js";
