//! Checks `[tls]`: addresses, files, times. It opens no socket and parses no certificate.

use std::{fs::File, io::ErrorKind, path::PathBuf};

use super::{
    Server, Tls,
    problem::Problem,
    section::{Report, Section, Text, Unit, Value, grouped},
    server::check_listen,
};

/// The keys of `[tls]`.
pub(super) const KEYS: &[&str] = &["listen", "certificate", "key", "expiry_warn_days", "reload_ms"];

/// `server` is the checked `[server]`, whose addresses may not be used twice.
pub(super) fn check<'a>(report: &mut Report, value: &'a Value<'a>, server: &Server) -> Option<Tls> {
    let section = Section::open(report, "[tls]", KEYS, value)?;
    let mut tls = Tls::default();
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
    section.number(report, "expiry_warn_days", Unit::Items, 0..=3_650, &mut tls.expiry_warn_days);
    section.number(report, "reload_ms", Unit::Milliseconds, 50..=3_600_000, &mut tls.reload_ms);
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
    if let Some((title, help)) = fault(&text, &path, key) {
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
    let shown = path.display();
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
