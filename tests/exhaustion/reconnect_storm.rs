//! A reconnect storm: a broker with many sessions is killed, all clients reconnect at once, and all are admitted over time.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rialto::Codec;
use tokio::net::TcpStream;

use crate::support::process::{Process, SERVER};
use crate::support::{Client, http_over, upgrade_request};

const CLIENTS: usize = 500;

/// Reconnects as a client does: repeatedly, and after the hint where there is one.
async fn comes_back(address: SocketAddr) -> (Client, u32) {
    let mut turned_away = 0;
    loop {
        if let Ok(stream) = TcpStream::connect(address).await {
            let answered = http_over(stream, &upgrade_request(address, &[])).await;
            match answered.status {
                // Admitted, so a session may follow; or the next attempt has the hint.
                101 => {
                    if let Ok(client) = tokio::spawn(Client::connect(address, Codec::Json)).await {
                        return (client, turned_away);
                    }
                }
                503 => {
                    turned_away += 1;
                    let seconds = answered.header("retry-after").expect("a hint").parse().expect("seconds");
                    tokio::time::sleep(Duration::from_secs(seconds)).await;
                }
                other => panic!("{other}"),
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn all_clients_reconnect_after_a_kill_spread_over_time() {
    let limits = "[limits]\nadmissions_per_s = 400\n";
    let mut process = Process::start(&format!("{SERVER}{limits}"), None);
    let address = process.address;
    let mut there = Vec::new();
    for index in 0..CLIENTS {
        let mut client = Client::connect(address, Codec::ALL[index % 2]).await;
        client.ping().await;
        there.push(client);
        // No faster than the rate limit.
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    process.signal("KILL");
    assert!(!process.ends().await.success());
    drop(there);
    let clients: Vec<_> = (0..CLIENTS).map(|_| tokio::spawn(comes_back(address))).collect();
    let begun = Instant::now();
    let again = SERVER.replace("127.0.0.1:0", &address.to_string());
    let _process = Process::start(&format!("{again}{limits}"), None);
    let mut turned_away = 0;
    let mut back = Vec::new();
    for session in clients {
        let (client, times) = session.await.unwrap();
        turned_away += times;
        back.push(client);
    }
    for client in &mut back {
        client.ping().await;
    }
    assert!(turned_away > 0, "{CLIENTS} at once are more than 400 a second");
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
}
