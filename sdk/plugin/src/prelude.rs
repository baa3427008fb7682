//! What nearly every plugin uses: `use rialto_plugin::prelude::*;`.

pub use crate::{
    Call, Config, Context, Error, Level, Message, Payload, Plugin, Raw, Reply, Result, Session, State, Timer, Verdict,
    fail, json, reject,
};
