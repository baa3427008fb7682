//! Address space: plugins reserve what their memory may need.

use rialto::Codec;
use serde_json::json;

use crate::support::component::empty;
use crate::support::process::{Process, SERVER};
use crate::support::{Client, RIALTO};

/// 4 GiB in KiB, as `ulimit -v` counts: less than a single memory reserved once.
const ADDRESS_SPACE: &str = "-v 4194304";

#[tokio::test]
async fn many_plugins_run_where_address_space_is_limited() {
    let mut config = SERVER.to_owned();
    for index in 0..24 {
        config.push_str(&format!(
            "[[topic]]\npattern = \"p{index}.*\"\nplugin = \"p{index}\"\n[plugin.p{index}]\npath = \"plugin.wasm\"\n"
        ));
    }
    let process = Process::start_within(ADDRESS_SPACE, &config, Some(&empty("")));
    assert!(!process.banner.contains("NOT LOADED"), "{}", process.banner);
    let mut client = Client::connect(process.address, Codec::Json).await;
    for index in 0..24 {
        let topic = format!("p{index}.a");
        client.subscribe(&topic).await;
        client.publish(&topic, json!(index)).await;
        assert_eq!(client.message().await["data"], index);
    }
}

#[tokio::test]
async fn an_instance_for_each_of_many_topics_fits_too() {
    let config = format!(
        "{SERVER}[[topic]]\npattern = \"p.*\"\nplugin = \"p\"\n[plugin.p]\npath = \"plugin.wasm\"\nisolation = \"topic\"\n\
         memory_bytes = 2_097_152\n"
    );
    let process = Process::start_within(ADDRESS_SPACE, &config, Some(&empty("")));
    let mut client = Client::connect(process.address, Codec::Json).await;
    for index in 0..300 {
        client.ok(json!({"type": "call", "topic": format!("p.{index}"), "method": "x"})).await;
    }
    let mut status = std::process::Command::new(RIALTO);
    status.args(["plugin", "status", "--json"]).env("XDG_RUNTIME_DIR", process.folder.path());
    let status: serde_json::Value = serde_json::from_slice(&status.output().unwrap().stdout).unwrap();
    // One more is for calls of the plugin by its name.
    assert_eq!(status["plugins"][0]["instances"], 301, "{status}");
}
