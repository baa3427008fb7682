//! The name in `Host`: only this server's own names are served, whatever the path, so that no foreign page passes for an own
//! one (DNS rebinding). And what browsers ask before they read.

use rialto::config::Config;

use crate::http::{KEY, start_with};
use crate::support::tls::{Certificate, Files, Hello};
use crate::support::{http, http_over, upgrade_request};

const PATHS: [&str; 5] = ["/", "/sse?topic=a", "/poll?topic=a&wait_ms=0", "/api/v1/openapi.json", "/nothing"];

fn named(names: &[&str]) -> impl FnOnce(&mut Config) {
    let names = names.iter().map(|name| (*name).to_owned()).collect();
    |config| config.server.hosts = names
}

#[tokio::test]
async fn a_foreign_name_is_refused_on_every_path_even_with_an_equal_origin() {
    let (running, _) = start_with(named(&[]));
    let address = running.address;
    for host in ["evil.example", "evil.example:8080", "127.0.0.1.evil.example", "localhost.evil.example"] {
        for path in PATHS {
            let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nOrigin: http://{host}\r\n\r\n");
            let answered = http(address, &request).await;
            assert_eq!(answered.status, 421, "{host} {path}");
        }
        let post = format!(
            "POST /api/v1/topics HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {KEY}\r\n\
             Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{{}}"
        );
        assert_eq!(http(address, &post).await.status, 421, "{host}");
        let upgrade = upgrade_request(address, &[("Host", host), ("Origin", &format!("http://{host}"))]);
        assert_eq!(http(address, &upgrade).await.status, 421, "{host}");
    }
    assert_eq!(running.broker.metrics().hosts_refused_total, 4 * 7);
    for host in [address.to_string(), "localhost".to_owned(), "LOCALHOST:1".to_owned(), "[::1]:80".to_owned()] {
        let answered = http(address, &format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")).await;
        assert_eq!(answered.status, 200, "{host}");
    }
}

#[tokio::test]
async fn listed_names_are_own_names() {
    let (running, _) = start_with(named(&["Chat.Example"]));
    for (host, status) in [("chat.example", 101), ("chat.example:8080", 101), ("x.chat.example", 421)] {
        let origin = format!("http://{host}");
        let request = upgrade_request(running.address, &[("Host", host), ("Origin", &origin)]);
        assert_eq!(http(running.address, &request).await.status, status, "{host}");
    }
    let (running, _) = start_with(named(&["*"]));
    assert_eq!(http(running.address, "GET / HTTP/1.1\r\nHost: anything.example\r\n\r\n").await.status, 200);
}

#[tokio::test]
async fn names_of_the_certificate_are_own_names_also_after_it_is_replaced() {
    let files = Files::with(&Certificate::named(&["chat.example", "*.wild.example"]));
    let settings = files.settings();
    let (running, _) = start_with(|config| {
        config.server.hosts = Vec::new();
        config.tls = Some(settings);
    });
    let address = running.tls_address.unwrap();
    let status = async |host: &str| {
        let stream = Hello::default().connect(address).await.unwrap();
        http_over(stream, &format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")).await.status
    };
    for (host, expected) in
        [("chat.example", 200), ("a.wild.example", 200), ("a.b.wild.example", 421), ("later.example", 421)]
    {
        assert_eq!(status(host).await, expected, "{host}");
    }
    let later = Certificate::named(&["later.example"]);
    files.write(&later.pem, &later.key_pem);
    crate::support::eventually("it is loaded", || running.broker.metrics().tls_reloads_total == 1).await;
    assert_eq!((status("later.example").await, status("chat.example").await), (200, 421));
}

#[tokio::test]
async fn options_says_what_a_path_takes_and_answers_preflights_of_listed_origins() {
    let (running, _) = start_with(|config| config.server.allowed_origins = vec!["https://app.example".to_owned()]);
    let ask = async |path: &str, headers: &str| {
        http(running.address, &format!("OPTIONS {path} HTTP/1.1\r\nHost: a\r\n{headers}\r\n")).await
    };
    for (path, allow) in [
        ("/", "GET, HEAD, OPTIONS"),
        ("/ws", "GET, OPTIONS"),
        ("/sse", "GET, OPTIONS"),
        ("/api/v1/publish", "POST, OPTIONS"),
        ("*", "GET, HEAD, POST, OPTIONS"),
    ] {
        let answered = ask(path, "").await;
        assert_eq!((answered.status, answered.header("allow")), (204, Some(allow)), "{path}");
        assert_eq!(answered.header("access-control-allow-origin"), None);
    }
    assert_eq!(ask("/nothing", "").await.status, 404);
    let preflight =
        "Access-Control-Request-Method: GET\r\nAccess-Control-Request-Headers: cache-control,last-event-id\r\n";
    for path in ["/sse?topic=a", "/poll?topic=a"] {
        let answered = ask(path, &format!("Origin: https://app.example\r\n{preflight}")).await;
        assert_eq!(answered.status, 204, "{answered:?}");
        assert_eq!(answered.header("access-control-allow-origin"), Some("https://app.example"));
        assert_eq!(answered.header("access-control-allow-methods"), Some("GET"));
        assert_eq!(answered.header("access-control-allow-headers"), Some("Last-Event-ID, Cache-Control"));
        assert_eq!(answered.header("vary"), Some("origin"));
        let refused = ask(path, &format!("Origin: https://evil.example\r\n{preflight}")).await;
        assert_eq!((refused.status, refused.header("access-control-allow-origin")), (403, None));
    }
    assert_eq!(running.broker.metrics().origins_refused_total, 2);
}

#[tokio::test]
async fn pages_in_files_may_be_allowed() {
    for origin in ["null", "file://"] {
        let (running, _) = start_with(|config| config.server.allowed_origins = vec![origin.to_owned()]);
        let request = upgrade_request(running.address, &[("Origin", origin)]);
        assert_eq!(http(running.address, &request).await.status, 101, "{origin}");
    }
}
