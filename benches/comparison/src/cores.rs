//! Which cores servers and load run on, and what has to be said about it. It pins nothing itself.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::places::Places;

/// On which cores a server may run, and with which programs that is brought about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pin {
    cores: Vec<usize>,
    taskset: Option<PathBuf>,
    setpriv: Option<PathBuf>,
}

impl Pin {
    /// The words in front of a program's own on its command line.
    pub fn words(&self) -> Vec<OsString> {
        let mut words = Vec::new();
        if let Some(setpriv) = &self.setpriv {
            // Ends the server even when the bench itself is killed.
            words.extend([setpriv.into(), "--pdeathsig".into(), "TERM".into()]);
        }
        if let Some(taskset) = self.taskset.as_ref().filter(|_| !self.cores.is_empty()) {
            let cores: Vec<String> = self.cores.iter().map(usize::to_string).collect();
            words.extend([taskset.into(), "-c".into(), cores.join(",").into()]);
        }
        words
    }
}

/// How the cores of the machine are shared out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cores {
    /// For a server.
    pub server: Pin,
    /// For a server of two shards.
    pub two_shards: Pin,
    /// For the load; none means wherever the system likes.
    pub load: Option<usize>,
    /// Whether a server of two shards and the load have cores to themselves.
    pub two_shards_apart: bool,
    /// What a reader of the figures has to know, in sentences.
    pub notes: Vec<String>,
}

impl Cores {
    /// Shares out `count` cores.
    pub fn share(count: usize, places: &Places) -> Self {
        let mut notes = Vec::new();
        let taskset = places.program("taskset");
        if taskset.is_none() {
            notes.push("Nothing is pinned: the program `taskset` (package util-linux) is absent.".to_owned());
        }
        let setpriv = places.program("setpriv");
        let pin = |cores: Vec<usize>| Pin { cores, taskset: taskset.clone(), setpriv: setpriv.clone() };
        let (server, two_shards, load) = match count {
            0 | 1 => (vec![0], vec![0], None),
            2 | 3 => (vec![0], vec![0, 1], Some(1)),
            _ => (vec![0], vec![0, 1], Some(2)),
        };
        notes.push(match count {
            0 | 1 => "Server and load share the only core: no figure here says what a server can do.".to_owned(),
            2 | 3 => "Servers on core 0, load on core 1.".to_owned(),
            _ => "Servers on core 0, of two shards on cores 0 and 1; load on core 2.".to_owned(),
        });
        Self {
            server: pin(server),
            two_shards: pin(two_shards),
            load: load.filter(|_| taskset.is_some()),
            two_shards_apart: count >= 4 && taskset.is_some(),
            notes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unpinned_processes_are_reported() {
        let nowhere = Places { path: Vec::new(), peers: PathBuf::from("/nowhere") };
        let cores = Cores::share(2, &nowhere);
        assert!(cores.notes[0].contains("taskset"), "{:?}", cores.notes);
        assert_eq!((cores.server.words(), cores.load), (Vec::new(), None));
        assert!(Cores::share(1, &nowhere).notes[1].contains("only core"));
    }

    #[test]
    fn pins_with_what_there_is() {
        let pin = Pin { cores: vec![0, 1], taskset: Some("/bin/taskset".into()), setpriv: None };
        assert_eq!(pin.words(), ["/bin/taskset", "-c", "0,1"]);
        let pin = Pin { setpriv: Some("/bin/setpriv".into()), ..pin };
        assert_eq!(pin.words(), ["/bin/setpriv", "--pdeathsig", "TERM", "/bin/taskset", "-c", "0,1"]);
    }
}
