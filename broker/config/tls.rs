//! `[tls]` and its check: addresses, files, times. It opens no socket and parses no certificate.

use std::{fs::File, io::ErrorKind, net::SocketAddr, path::PathBuf};

use serde_json::json;

use super::{
    Server,
    exposure::is_file_name,
    problem::Problem,
    section::{Report, Section, Text, Value, grouped},
    server::{addresses, check_listen},
    setting::{Custom, Form, settings},
};

settings! {
    /// TLS: https:// for the web pages and wss:// for clients, at addresses of their own. Off by default; both files are
    /// needed.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Tls: "[tls]" requires ["certificate", "key"] {
        /// Addresses to listen on with TLS, written like those of `[server]`.
        listen [restart]: Vec<SocketAddr> = vec![SocketAddr::from(([127, 0, 0, 1], 8443))] => Custom { form: addresses };
        /// The certificate chain in PEM form, the broker's own certificate first: fullchain.pem of certbot. A relative path
        /// starts at the folder of this file. A changed file is used for new connections without a restart; sessions go
        /// on. If the new file is broken, expired or does not match the key, the certificate in use stays, which is logged
        /// and counted in `tls_reload_errors_total`.
        certificate [restart]: PathBuf = PathBuf::new() => Custom { form: || file().example("\"certificate.pem\"") };
        /// The private key of the certificate in PEM form (PKCS#8, RSA or SEC1), not encrypted: privkey.pem of certbot.
        key [restart]: PathBuf = PathBuf::new() => Custom { form: || file().example("\"key.pem\"") };
        /// From how many days before its expiry the certificate is warned of: once a day in the log, and by
        /// `tls_certificate_expires_soon` = 1.
        expiry_warn_days [restart]: u32 = 14, 0 to 3_650 items;
        /// Interval at which both files are checked for changes. A change counts when two checks have seen it.
        reload_ms [restart]: u64 = 2_000, 50 to 3_600_000 ms;
    }
}

impl Tls {
    /// Largest file of either kind, in bytes.
    pub(crate) const FILE_BYTES_MAX: u64 = 1 << 20;
}

/// The path of a file.
pub(super) fn file() -> Form {
    Form::of(json!({ "type": "string" }))
}

/// `server` is the checked `[server]`, whose addresses may not be used twice.
pub(super) fn check<'a>(report: &mut Report, value: &'a Value<'a>, server: &Server) -> Option<Tls> {
    let section = Section::open(report, "[tls]", &Tls::TABLE, value)?;
    let mut tls = Tls::default();
    tls.read_keys(report, &section);
    if let Some(value) = section.get("listen") {
        tls.listen = check_listen(report, value, "127.0.0.1:8443", 1);
    }
    let taken = tls.listen.iter().find(|address| address.port() != 0 && server.listen.contains(address));
    if let Some(taken) = taken {
        let span = section.get("listen").map_or(section.span(), |listen| listen.span());
        let title = format!("`[server]` listens on {taken} without TLS");
        report.add(Problem::at(span, title).help("give each its own port, or write `listen = []` in `[server]`"));
    }
    tls.certificate = check_file(report, &section, "certificate");
    tls.key = check_file(report, &section, "key");
    Some(tls)
}

fn check_file(report: &mut Report, section: &Section, key: &str) -> PathBuf {
    let example = format!("\"{key}.pem\"");
    if section.get(key).is_none() && !report.torn {
        let title = format!("`[tls]` needs a `{key}`");
        let help = format!("add `{key} = {example}`, seen from the folder of this file");
        report.add(Problem::at(section.span(), title).help(help));
    }
    let Some(text) = section.text(report, key, &example) else { return PathBuf::new() };
    let path = report.folder.join(text.value);
    if let Some((title, help)) = report.reads_files.then(|| fault(&text, &path, key)).flatten() {
        report.add(Problem::at(text.span, title).help(help));
    }
    path
}

/// Why the file cannot be used, and how to correct that.
fn fault(text: &Text, path: &std::path::Path, key: &str) -> Option<(String, String)> {
    // Not repeated: it may be the key itself.
    if text.value.contains('\n') || text.value.contains("-----") {
        return Some((
            format!("`{key}` is the name of a file, not what is in it"),
            format!("write `{key} = \"{key}.pem\"`"),
        ));
    }
    if text.value.is_empty() {
        return Some((format!("`{key}` is empty"), "name a PEM file".to_owned()));
    }
    // What does not look like a file may be the key itself.
    let shown = match is_file_name(text.value) || key != "key" {
        true => path.display().to_string(),
        false => format!("the path of `{key}`"),
    };
    // Checked before it is opened: opening something other than a file may block for ever.
    let metadata = std::fs::metadata(path);
    let metadata = metadata.and_then(|found| if found.is_file() { File::open(path)?.metadata() } else { Ok(found) });
    let (title, help) = match metadata {
        Ok(file) if file.is_file() && file.len() <= Tls::FILE_BYTES_MAX => return None,
        Ok(file) if file.is_file() => {
            let title = format!("{shown} has {} bytes, which no {key} has", grouped(file.len()));
            (title, "name a PEM file".to_owned())
        }
        Ok(_) => (format!("{shown} is not a file"), "name a PEM file".to_owned()),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => (
            format!("no {key} at {shown}"),
            "a relative path starts at the folder of the configuration file".to_owned(),
        ),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            (format!("{shown} may not be read"), "check its owner and mode".to_owned())
        }
        Err(error) => (format!("{shown} cannot be read"), error.to_string()),
    };
    Some((title, help))
}
