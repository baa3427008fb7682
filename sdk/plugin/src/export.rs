//! `export!`: makes a type the plugin of its crate.

/// Makes a type that implements [`Plugin`](crate::Plugin) the plugin of this crate. Use it once, at the top level.
///
/// After the type come the capabilities that the plugin needs, as literals: `"state"`, `"timers"`, `"sessions"`,
/// `"publish PATTERN"` (topics that are not its own) and `"subscribe PATTERN"`. The operator's configuration grants them;
/// what is not both asked and granted is refused.
///
/// ```
/// # use rialto_plugin::prelude::*;
/// # #[derive(Default)]
/// # struct Ticker;
/// # impl Plugin for Ticker {}
/// rialto_plugin::export!(Ticker, needs: ["state", "timers", "publish alerts.>"]);
/// ```
///
/// For WebAssembly it exports the hooks and embeds a custom section `rialto:manifest` with the name and version of the
/// crate, the version of the plugin protocol and what the plugin needs, as JSON:
/// `{"name":"chat","version":"0.1.0","protocol":"1.0.0","needs":["state"]}`. Natively it only checks the type.
///
/// Components are for version 1.0 of the protocol; with the feature `v1_1` of this crate they are for 1.1, which is a
/// draft.
#[macro_export]
macro_rules! export {
    ($plugin:ty) => {
        $crate::export!($plugin, needs: []);
    };
    ($plugin:ty, needs: [$($first:literal $(, $need:literal)*)? $(,)?]) => {
        const _: () = {
            const fn is_plugin<P: $crate::Plugin>() {}
            is_plugin::<$plugin>();
        };

        #[cfg(target_arch = "wasm32")]
        const _: () = {
            type ExportedPlugin = $crate::guest::Exported<$plugin>;
    $crate::guest::export_hooks!(ExportedPlugin with_types_in $crate::guest::bindings);

            const MANIFEST: &str = concat!(
                "{\"name\":\"",
                env!("CARGO_PKG_NAME"),
                "\",\"version\":\"",
                env!("CARGO_PKG_VERSION"),
                "\",\"protocol\":\"",
                $crate::protocol_version!(),
                "\",\"needs\":[",
                $("\"", $first, "\"", $(",\"", $need, "\"",)*)?
                "]}"
            );
            #[used]
            #[unsafe(link_section = "rialto:manifest")]
            static SECTION: [u8; MANIFEST.len()] = $crate::section_bytes(MANIFEST);
        };
    };
}

/// The version of the plugin protocol that components are for.
#[cfg(not(feature = "v1_1"))]
#[doc(hidden)]
#[macro_export]
macro_rules! protocol_version {
    () => {
        "1.0.0"
    };
}

/// The version of the plugin protocol that components are for.
#[cfg(feature = "v1_1")]
#[doc(hidden)]
#[macro_export]
macro_rules! protocol_version {
    () => {
        "1.1.0"
    };
}

/// The bytes of `text` as an array of its length, which is what a custom section is made of.
#[doc(hidden)]
pub const fn section_bytes<const LENGTH: usize>(text: &str) -> [u8; LENGTH] {
    let mut bytes = [0; LENGTH];
    bytes.copy_from_slice(text.as_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_section_has_the_bytes_of_its_text() {
        const TEXT: &str = r#"{"name":"x"}"#;
        static SECTION: [u8; TEXT.len()] = super::section_bytes(TEXT);
        assert_eq!(SECTION, TEXT.as_bytes());
    }
}
