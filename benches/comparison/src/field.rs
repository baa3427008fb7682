//! Who takes part in a comparison, and who does not and why.

use std::path::Path;

use crate::options::Options;
use crate::peer::also::Also;
use crate::peer::{self, Absent};
use crate::places::Places;
use crate::report::Contender;
use crate::server::Server;

/// All servers of a comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Those that are measured, in the order of the first round: those that are divided by one another are neighbours.
    pub servers: Vec<Server>,
    /// Those that are not there.
    pub skipped: Vec<Absent>,
}

impl Field {
    /// Rialto, the floors, the peers that are given and those that are found, less what is not wanted. `rialto` is the
    /// binary; `floor` is the program that is a floor when it is told so.
    pub fn gather(options: &Options, rialto: &Path, floor: &Path, places: &Places) -> Self {
        let rialto = |shards, wide, keeps| Server::Rialto { program: rialto.to_owned(), shards, wide, keeps };
        let floor = |batched| Server::Floor { program: floor.to_owned(), batched };
        let mut servers = vec![floor(true), rialto(1, false, false)];
        servers.extend([rialto(1, false, true), rialto(1, true, false), rialto(2, true, false)]);
        servers.extend(options.also.iter().cloned().map(|also| match also {
            Also::Started(peer) => Server::Peer(peer),
            Also::Running(elsewhere) => Server::Elsewhere(elsewhere),
        }));
        let (peers, mut skipped) = peer::find(places);
        servers.extend(peers.into_iter().map(Server::Peer));
        servers.push(floor(false));
        let is_wanted = |name: &str| !options.without.iter().any(|start| name.starts_with(start.as_str()));
        servers.retain(|server| is_wanted(server.name()));
        skipped.retain(|absent| is_wanted(&absent.name));
        Self { servers, skipped }
    }

    /// Names and versions, each once.
    pub fn contenders(&self) -> Vec<Contender> {
        let mut contenders: Vec<Contender> = Vec::new();
        for server in &self.servers {
            if !contenders.iter().any(|one| one.name == server.name()) {
                contenders.push(Contender { name: server.name().to_owned(), version: server.version().to_owned() });
            }
        }
        contenders
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unselected_peers_are_left_out_and_missing_ones_reported() {
        let places = Places { path: vec!["/nowhere".into()], peers: "/nowhere".into() };
        let also = vec!["uWebSockets=plain:exec:/tmp/server {port}".parse().expect("it is well formed")];
        let options = Options { also, without: vec!["floor".to_owned(), "nchan".to_owned()], ..Options::default() };
        let field = Field::gather(&options, Path::new("/rialto"), Path::new("/bench"), &places);
        let names: Vec<String> = field.contenders().into_iter().map(|one| one.name).collect();
        assert_eq!(names, ["Rialto", "Rialto, history", "Rialto, two shards", "uWebSockets"]);
        let skipped: Vec<&str> = field.skipped.iter().map(|absent| absent.name.as_str()).collect();
        assert_eq!(skipped, ["nats-server", "mosquitto", "ws (Node)"]);
    }
}
