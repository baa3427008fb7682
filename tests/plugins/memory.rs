//! Memory of components: what a plugin may have, it can have.

use rialto::Codec;
use rialto::config::Isolation;

use crate::plugins::hosted::{Hosted, call, publish};

#[tokio::test]
async fn memory_grows_to_its_limit_and_no_further() {
    // The plugin begins with 4 MiB. Reservations are powers of two; what a plugin may have is any number.
    let sizes = [4_194_304, 5_000_000, 33_554_432, 100_000_000];
    let isolations = [Isolation::Plugin, Isolation::Topic];
    for (memory_bytes, isolation) in sizes.into_iter().flat_map(|size| isolations.map(|isolation| (size, isolation))) {
        let hosted = Hosted::with(|_, plugin| {
            plugin.memory_bytes = memory_bytes;
            plugin.isolation = isolation;
        });
        let mut client = hosted.client(Codec::Json).await;
        client.ok(call('1')).await;
        client.refused(publish('m'), "plugin_failed").await;
        let status = hosted.broker.plugins().remove(0);
        let failure = status.last_failure.expect("it has failed").text;
        assert!(failure.contains(&format!("memory_bytes: more than {memory_bytes} bytes")), "{failure}");
        client.ok(call('1')).await;
    }
}
