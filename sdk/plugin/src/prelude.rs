//! What nearly every plugin uses: `use rialto_plugin::prelude::*;`.

pub use crate::{
    Call, Config, Context, Error, Level, Message, Payload, Plugin, Reply, Result, Session, State, Verdict, fail, json,
    reject,
};
