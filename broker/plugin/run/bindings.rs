//! The code that wasmtime makes of the WIT files, one module for each version of the plugin protocol.

/// Version 1.0.
pub(in crate::plugin) mod v1_0 {
    #![allow(missing_docs, unreachable_pub, clippy::all, reason = "generated from sdk/plugin/wit")]

    wasmtime::component::bindgen!({
        path: "sdk/plugin/wit/v1",
        world: "plugin",
        imports: { default: trappable },
    });
}

/// Version 1.1. The interfaces that have not changed are those of 1.0, under whose names they are linked: a name with another minor
/// version finds them.
pub(in crate::plugin) mod v1_1 {
    #![allow(missing_docs, unreachable_pub, clippy::all, reason = "generated from sdk/plugin/wit")]

    wasmtime::component::bindgen!({
        path: "sdk/plugin/wit/v1_1",
        world: "plugin",
        imports: { default: trappable },
        with: {
            "rialto:plugin/state": super::v1_0::rialto::plugin::state,
            "rialto:plugin/system": super::v1_0::rialto::plugin::system,
            "rialto:plugin/timers": super::v1_0::rialto::plugin::timers,
        },
    });
}
