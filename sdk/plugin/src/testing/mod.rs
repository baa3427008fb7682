//! A native double of the broker, to test plugins in a plain `#[test]`.
//!
//! ```
//! use rialto_plugin::prelude::*;
//! use rialto_plugin::testing::Host;
//!
//! #[derive(Default)]
//! struct Counter;
//!
//! impl Plugin for Counter {
//!     fn on_publish(&mut self, ctx: &mut Context, message: Message) -> Result<Verdict> {
//!         let counts = ctx.state::<u64>("counts");
//!         let count = counts.get(&message.topic)?.unwrap_or(0) + 1;
//!         if count > 2 {
//!             return Err(reject("enough"));
//!         }
//!         counts.put(&message.topic, &count)?;
//!         Ok(message.replace(&count)?)
//!     }
//! }
//!
//! let mut host = Host::new(Counter).owns("count.*");
//! assert_eq!(host.publish("s1", "count.a", &()), Ok(Some(json!(1))));
//! assert_eq!(host.publish("s2", "count.a", &()), Ok(Some(json!(2))));
//! assert_eq!(host.publish("s1", "count.a", &()).unwrap_err().reason(), "enough");
//! assert_eq!(host.state::<u64>("counts")["count.a"], 2);
//! assert_eq!(host.published().len(), 2);
//! ```

mod effect;
mod failure;
mod host;
mod limits;
mod test_broker;

pub use effect::{Effect, Published, Sent};
pub use failure::Failure;
pub use host::Host;
pub use limits::Limits;

pub use crate::host::Usage;
