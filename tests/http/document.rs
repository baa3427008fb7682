//! The OpenAPI document and the server agree on all paths and methods. `tests/api/run` compares responses with the
//! document.

use std::collections::BTreeSet;

use rialto::ApiOperation;
use serde_json::Value;

use crate::http::start;
use crate::support::{get, http};

const METHODS: [&str; 7] = ["get", "put", "post", "delete", "options", "head", "patch"];

#[tokio::test]
async fn only_the_paths_and_methods_of_the_document_are_served() {
    let (running, program) = start();
    let answered = get(running.address, "/api/v1/openapi.json").await;
    assert_eq!((answered.status, answered.header("content-type")), (200, Some("application/json")));
    let document: Value = serde_json::from_str(&answered.body).unwrap();
    let paths = document["paths"].as_object().unwrap();
    let served: BTreeSet<String> = ApiOperation::ALL
        .iter()
        .map(|operation| format!("/api/v1/{}", operation.name()))
        .chain(["/api/v1/openapi.json".to_owned()])
        .collect();
    assert_eq!(paths.keys().cloned().collect::<BTreeSet<_>>(), served);
    for (path, operations) in paths {
        for method in METHODS {
            // HEAD is allowed where GET is (RFC 9110 section 9.3.2).
            let described = operations.get(method).is_some() || (method == "head" && operations.get("get").is_some());
            if method == "head" && described {
                continue;
            }
            let head = format!("{} {path} HTTP/1.1\r\nHost: {}\r\n", method.to_uppercase(), running.address);
            let key = format!("Authorization: Bearer {}\r\nContent-Length: 0\r\n\r\n", program.key);
            if method == "head" {
                continue;
            }
            let answered = http(running.address, &(head + &key)).await;
            if method == "options" {
                // It may be asked of every path (RFC 9110 section 9.3.7), and says what the document says.
                let allowed = answered.header("allow").unwrap_or_default().to_ascii_lowercase();
                assert!(
                    operations.as_object().unwrap().keys().any(|one| allowed.contains(one)),
                    "{path}: {answered:?}"
                );
                continue;
            }
            assert_eq!(answered.status != 405, described, "{method} {path}: {answered:?}");
            assert_ne!(answered.status, 404, "{method} {path}");
        }
    }
}

#[tokio::test]
async fn the_document_has_every_code_and_operation_and_no_dangling_reference() {
    let (running, _) = start();
    let text = get(running.address, "/api/v1/openapi.json").await.body;
    let document: Value = serde_json::from_str(&text).unwrap();
    let codes = document["components"]["schemas"]["Error"]["properties"]["code"]["enum"].as_array().unwrap();
    let codes: BTreeSet<&str> = codes.iter().map(|code| code.as_str().unwrap()).collect();
    assert_eq!(codes, rialto::ErrorCode::ALL.iter().map(|code| code.as_str()).collect());
    for reference in text.split("\"$ref\": \"#").skip(1).map(|rest| rest.split('"').next().unwrap()) {
        assert!(document.pointer(reference).is_some(), "{reference}");
    }
}
