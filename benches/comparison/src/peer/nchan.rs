//! nginx with the module nchan: one worker, publishers at `/pub/TOPIC`, subscribers at `/sub/TOPIC`, no message kept
//! longer than it is on its way.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::{Absent, Peer, Recipe, SESSIONS};
use crate::launch::Launch;
use crate::places::{Places, Program, quoted};
use rialto_load::scenario::Dialect;

const NAME: &str = "nchan (nginx)";
const CONFIG: &str = "nginx.conf";
const MODULE: &str = "usr/lib/nginx/modules/ngx_nchan_module.so";
const INSTALL: &str = "benches/run installs it (Debian's packages nginx and libnginx-mod-nchan)";

/// An nginx that can load the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Nginx {
    program: Program,
    module: PathBuf,
}

pub(super) fn find(places: &Places) -> Result<Peer, Absent> {
    let (program, module) = nginx(places)?;
    let nginx = program.version(&["-v"]).unwrap_or_else(|| "unknown".to_owned());
    let nchan = places.debian_version("libnginx-mod-nchan");
    // Debian's own parts of it: `1:1.3.6+dfsg-2` is 1.3.6.
    let nchan = nchan.as_deref().map_or("unknown", |version| {
        let version = version.split_once(':').map_or(version, |(_, version)| version);
        version.split(['+', '-']).next().unwrap_or(version)
    });
    Ok(Peer {
        name: NAME.to_owned(),
        version: format!("{nchan}, nginx {nginx}"),
        dialect: Dialect::Plain,
        idle_sessions: SESSIONS,
        recipe: Recipe::Nchan(Nginx { program, module }),
    })
}

/// A module fits only the nginx it was built with: both are the system's or both were unpacked.
fn nginx(places: &Places) -> Result<(Program, PathBuf), Absent> {
    let system = places.program("nginx").map(|file| (Program { file, environment: Vec::new() }, PathBuf::from("/")));
    let unpacked = places.unpacked("nginx").map(|program| (program, places.peers.join("debian")));
    let mut missing = "no program `nginx`".to_owned();
    for (program, root) in [system, unpacked].into_iter().flatten() {
        let module = root.join(MODULE);
        if module.is_file() {
            return Ok((program, module));
        }
        missing = format!("no module {}", module.display());
    }
    Err(Absent::new(NAME, missing, INSTALL))
}

impl Nginx {
    pub(super) fn launch(&self, address: SocketAddr, folder: &Path) -> Launch {
        Launch {
            program: self.program.file.clone(),
            arguments: vec!["-p".into(), folder.into(), "-c".into(), folder.join(CONFIG).into()],
            environment: self.program.environment.clone(),
            files: vec![(CONFIG.to_owned(), config(address, folder, &self.module))],
        }
    }
}

/// 256 messages are kept for at most 5 s: a subscriber that is being written to must find the next ones there, and
/// never more than the window of a run is on its way.
fn config(address: SocketAddr, folder: &Path, module: &Path) -> String {
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("  {name}_temp_path {};\n", quoted(&folder.join(name))))
        .concat();
    format!(
        "load_module {module};\nuser root;\ndaemon off;\nworker_processes 1;\nworker_rlimit_nofile 20000;\n\
         pid {pid};\nerror_log stderr error;\nevents {{ worker_connections 19000; }}\nhttp {{\n  access_log off;\n\
         {temporary}  nchan_shared_memory_size 512M;\n  nchan_message_buffer_length 256;\n  nchan_message_timeout 5s;\n\
         \x20 server {{\n    listen {address};\n\
         \x20   location ~ ^/sub/(.+)$ {{\n      nchan_subscriber websocket;\n      nchan_channel_id $1;\n\
         \x20     nchan_websocket_ping_interval 60;\n      nchan_subscriber_first_message newest;\n    }}\n\
         \x20   location ~ ^/pub/(.+)$ {{\n      nchan_publisher websocket;\n      nchan_channel_id $1;\n    }}\n\
         \x20 }}\n}}\n",
        module = quoted(module),
        pid = quoted(&folder.join("nginx.pid")),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn has_one_worker_and_both_endpoints() {
        let folder = Path::new("/tmp/some \"folder\"");
        let text = config("127.0.0.1:4711".parse().expect("an address"), folder, Path::new("/modules/nchan.so"));
        for line in [
            "load_module \"/modules/nchan.so\";\n",
            "\nworker_processes 1;\n",
            "\npid \"/tmp/some \\\"folder\\\"/nginx.pid\";\n",
            "\n    listen 127.0.0.1:4711;\n",
            "\n      nchan_subscriber websocket;\n      nchan_channel_id $1;\n",
            "\n      nchan_publisher websocket;\n      nchan_channel_id $1;\n",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
        assert_eq!(text.matches('{').count(), text.matches('}').count(), "{text}");
    }
}
