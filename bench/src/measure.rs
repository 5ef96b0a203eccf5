//! The measurements on a real cluster. Whoever is compared is measured in turn, round after round.

use std::fs;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::Duration;

use controlplane::{ControlPlane, Seed, SeedReplicas};

use crate::error::Error;
use crate::figures::{Aim, Figures, Side};
use crate::server::{Place, Server};
use crate::sizes::Sizes;

/// Garbage collectors and allocators give back within this time what they will give back.
const SETTLE: Duration = Duration::from_secs(2);
/// Paths that a read load walks through.
const PATHS: u32 = 2000;
const LIST: &str = "/api/v1/deployments";

/// A real cluster, and where its figures go.
pub(crate) struct Bench<'a> {
    pub(crate) place: &'a Place,
    pub(crate) sizes: Sizes,
    pub(crate) cluster: &'a ControlPlane,
    pub(crate) figures: &'a mut Figures,
    /// How many Deployments there are.
    pub(crate) held: u32,
}

pub(crate) fn seed(deployments: u32) -> Seed {
    Seed {
        deployments,
        namespaces: 50,
        replicas: SeedReplicas::Spread,
    }
}

fn path_of(i: u32) -> String {
    // Names don't depend on how many there are.
    let seed = seed(0);
    let (namespace, name) = (seed.namespace(i), seed.name(i));
    format!("/api/v1/namespaces/{namespace}/deployments/{name}/replicas")
}

impl Bench<'_> {
    fn kubeconfig(&self) -> PathBuf {
        self.cluster.kubeconfig().to_owned()
    }

    pub(crate) async fn grow(&mut self, deployments: u32) -> Result<(), Error> {
        if deployments > self.held {
            crate::say(&format!("creating Deployments, up to {deployments}"));
            self.cluster.seed(&seed(deployments)).await?;
            self.held = deployments;
        }
        Ok(())
    }

    /// After minutes without a write the API server takes lists from etcd, which is another measurement.
    async fn touch(&self, round: usize) -> Result<(), Error> {
        let seed = seed(1);
        let value = format!("bench.invalid/round={round}");
        let (namespace, name) = (seed.namespace(0), seed.name(0));
        let annotate = ["annotate", "deployment", &name, "-n", &namespace];
        let arguments = [annotate.as_slice(), &["--overwrite", &value]].concat();
        self.cluster.kubectl(&arguments).await?;
        Ok(())
    }

    fn both(&self) -> Result<(Server, Server), Error> {
        let kubeconfig = self.kubeconfig();
        let (headcount, _) = self.place.synced(Side::Headcount, &kubeconfig)?;
        let (peer, _) = self.place.synced(Side::Peer, &kubeconfig)?;
        Ok((headcount, peer))
    }

    /// From the program's start to a copy of an empty cluster.
    pub(crate) fn ready(&mut self) -> Result<(), Error> {
        crate::say("time to ready on an empty cluster");
        for _ in 0..self.sizes.rounds {
            for side in [Side::Headcount, Side::Peer] {
                let (_server, sync) = self.place.synced(side, &self.kubeconfig())?;
                let aims = [Aim::AtMost(50.0)];
                let title = "start to ready, empty cluster";
                self.figures
                    .note(title, "ms", &aims, side, sync.seconds * 1e3);
            }
        }
        Ok(())
    }

    /// Time and CPU of a first sync, and memory after it, against the peer and against a reader that drops what it reads.
    pub(crate) async fn sync(&mut self) -> Result<(), Error> {
        let n = self.held;
        crate::say(&format!("first sync of {n}"));
        // Aims are for these sizes.
        let compared = n == 20_000;
        let large = n >= 100_000;
        let mut time = vec![Aim::OfLimit(1.2)];
        let (mut cpu, mut resident) = (Vec::new(), Vec::new());
        if compared {
            time = vec![Aim::OfPeer(0.7)];
            cpu.push(Aim::OfPeer(0.2));
            resident.push(Aim::OfPeer(0.2));
        }
        if large {
            cpu.push(Aim::AtMost(0.6));
            resident.push(Aim::AtMost(32.0));
        }
        let peak = if large {
            vec![Aim::OfLimit(1.15)]
        } else {
            Vec::new()
        };
        for round in 0..self.sizes.rounds {
            for side in [Side::Headcount, Side::Limit, Side::Peer] {
                self.touch(round * 3 + side as usize).await?;
                if side == Side::Limit {
                    let kubeconfig = self.kubeconfig().display().to_string();
                    let found = self
                        .place
                        .drive_cluster("drain", &["-kubeconfig", &kubeconfig])?;
                    let seconds = found.number("seconds")?;
                    self.figures.note(
                        &format!("first sync of {n}, time"),
                        "s",
                        &time,
                        side,
                        seconds,
                    );
                    let used = found.number("cpuSeconds")?;
                    self.figures
                        .note(&format!("first sync of {n}, CPU"), "s", &cpu, side, used);
                    continue;
                }
                let (server, sync) = self.place.synced(side, &self.kubeconfig())?;
                self.figures.note(
                    &format!("first sync of {n}, time"),
                    "s",
                    &time,
                    side,
                    sync.seconds,
                );
                self.figures.note(
                    &format!("first sync of {n}, CPU"),
                    "s",
                    &cpu,
                    side,
                    sync.cpu,
                );
                sleep(SETTLE);
                let (now, most) = (server.proc().resident()?, server.proc().peak()?);
                self.figures
                    .note(&format!("resident, {n}"), "MB", &resident, side, now);
                let title = format!("peak of the first sync of {n} (limit: resident)");
                self.figures.note(&title, "MB", &peak, side, most);
                if side == Side::Headcount {
                    self.figures.note(&title, "MB", &peak, Side::Limit, now);
                }
            }
        }
        Ok(())
    }

    /// The peak when everything is listed again because the history is gone.
    pub(crate) async fn relist(&mut self) -> Result<(), Error> {
        let n = self.held;
        crate::say(&format!(
            "relist of {n} after the API server lost its history"
        ));
        let (server, _) = self.place.synced(Side::Headcount, &self.kubeconfig())?;
        sleep(SETTLE);
        let resident = server.proc().resident()?;
        // It must miss something of the history that goes, or it could go on from where it was. What is sent to a stopped program
        // waits for it in its socket: the change comes when its connection is gone and it can't have opened another.
        server.proc().signal("STOP")?;
        self.cluster.kill_apiserver().await?;
        self.cluster.start_apiserver().await?;
        self.touch(0).await?;
        self.cluster.kill_apiserver().await?;
        self.cluster.compact().await?;
        self.cluster.start_apiserver().await?;
        server.proc().signal("CONT")?;
        server.logged_times("informer.synced", 2)?;
        sleep(SETTLE);
        let title = format!("peak of sync and relist of {n} (limit: resident)");
        let aims = [Aim::OfLimit(1.15)];
        let peak = server.proc().peak()?;
        self.figures
            .note(&title, "MB", &aims, Side::Headcount, peak);
        self.figures
            .note(&title, "MB", &aims, Side::Limit, resident);
        Ok(())
    }

    /// Server CPU and latency of reading one count, over HTTP/1.1, HTTP/2, and with a handshake each.
    pub(crate) fn reads(&mut self) -> Result<(), Error> {
        let paths = self.write_paths()?;
        let (headcount, peer) = self.both()?;
        let ceiling = self.place.ceiling(0)?;
        let duration = format!("{}ms", self.sizes.load.as_millis());
        let common = ["-paths", &paths, "-duration", &duration];
        let modes: [(&str, &[&str], &[Aim]); 4] = [
            (
                "read, HTTP/1.1, 32 connections",
                &["-mode", "keepalive"],
                &[Aim::OfPeer(0.36), Aim::OfLimit(1.25)],
            ),
            (
                "read, HTTP/2, 4 connections of 100 streams",
                &["-mode", "h2", "-connections", "4", "-streams", "100"],
                &[Aim::OfPeer(0.2)],
            ),
            (
                "handshake and read, X25519MLKEM768",
                &[
                    "-mode",
                    "handshake",
                    "-connections",
                    "16",
                    "-group",
                    "hybrid",
                ],
                &[Aim::OfPeer(0.5)],
            ),
            (
                "handshake and read, X25519",
                &[
                    "-mode",
                    "handshake",
                    "-connections",
                    "16",
                    "-group",
                    "x25519",
                ],
                &[Aim::OfPeer(0.5)],
            ),
        ];
        for (title, mode, aims) in modes {
            crate::say(title);
            for _ in 0..self.sizes.rounds {
                for server in [&headcount, &peer, &ceiling] {
                    let pid = server.proc().pid.to_string();
                    let arguments = [common.as_slice(), mode, &["-pid", &pid]].concat();
                    let found = self.place.drive(server, "load", &arguments)?.all("200")?;
                    let mut note = |what: &str, aims: &[Aim], name: &str| {
                        let value = found.number(name)?;
                        self.figures.note(
                            &format!("{title}: {what}"),
                            "µs",
                            aims,
                            server.side,
                            value,
                        );
                        Ok::<_, Error>(())
                    };
                    note("server CPU", aims, "cpuUs")?;
                    note("p50", &[], "p50us")?;
                    note("p99", &[], "p99us")?;
                }
            }
        }
        Ok(())
    }

    fn write_paths(&self) -> Result<String, Error> {
        let file = self.place.folder.join("paths");
        let step = (self.held / PATHS).max(1);
        let paths: Vec<_> = (0..PATHS.min(self.held))
            .map(|i| path_of(i * step))
            .collect();
        fs::write(&file, paths.join("\n")).map_err(Error::file(&file))?;
        Ok(file.display().to_string())
    }

    /// Server CPU of the whole list: as it is, compressed, unchanged; and what it adds to memory.
    pub(crate) fn lists(&mut self) -> Result<(), Error> {
        let n = self.held;
        let large = n >= 100_000;
        crate::say(&format!("list of {n}"));
        let (headcount, peer) = self.both()?;
        let duration = format!("{}ms", self.sizes.load.as_millis());
        for server in [&headcount, &peer] {
            sleep(SETTLE);
            server.proc().reset_peak()?;
            let before = server.proc().resident()?;
            self.list_of(server, &duration, "8", &[])?;
            let growth = server.proc().peak()? - before;
            let aims: &[Aim] = if large { &[Aim::AtMost(1.0)] } else { &[] };
            let title = format!("list of {n}, 8 at once: memory at most above resident");
            self.figures.note(&title, "MB", aims, server.side, growth);
        }
        let bytes = self
            .list_of(&headcount, "200ms", "1", &[])?
            .number("bytesEach")?;
        let ceiling = self.place.ceiling(bytes as usize)?;
        let paths = self.write_paths()?;
        let of_peer: &[Aim] = if large {
            &[Aim::OfPeer(1.0 / 15.0)]
        } else {
            &[]
        };
        let compressed = [Aim::AtMost(1500.0)];
        let as_a_read = [Aim::OfLimit(1.25)];
        for _ in 0..self.sizes.rounds {
            let title = format!("list of {n}: server CPU");
            for server in [&headcount, &peer, &ceiling] {
                let cpu = self.list_of(server, &duration, "8", &[])?.number("cpuUs")?;
                self.figures.note(&title, "µs", of_peer, server.side, cpu);
            }
            let title = format!("list of {n}, gzip: server CPU");
            let gzip = ["-headers", "Accept-Encoding: gzip"];
            let cpu = self
                .list_of(&headcount, &duration, "8", &gzip)?
                .number("cpuUs")?;
            self.figures
                .note(&title, "µs", &compressed, Side::Headcount, cpu);
            let title = format!("list of {n}, unchanged (limit: reading one count): server CPU");
            let pid = headcount.proc().pid.to_string();
            let common = ["-duration", &duration, "-connections", "8", "-pid", &pid];
            let arguments = [&common, ["-path", LIST, "-conditional"].as_slice()].concat();
            let found = self
                .place
                .drive(&headcount, "load", &arguments)?
                .all("304")?;
            self.figures.note(
                &title,
                "µs",
                &as_a_read,
                Side::Headcount,
                found.number("cpuUs")?,
            );
            let arguments = [&common, ["-paths", &paths].as_slice()].concat();
            let found = self
                .place
                .drive(&headcount, "load", &arguments)?
                .all("200")?;
            self.figures.note(
                &title,
                "µs",
                &as_a_read,
                Side::Limit,
                found.number("cpuUs")?,
            );
        }
        Ok(())
    }

    fn list_of(
        &self,
        server: &Server,
        duration: &str,
        connections: &str,
        further: &[&str],
    ) -> Result<crate::driver::Found, Error> {
        let pid = server.proc().pid.to_string();
        let common = ["-path", LIST, "-duration", duration, "-pid", &pid];
        let arguments = [&common, ["-connections", connections].as_slice(), further].concat();
        self.place.drive(server, "load", &arguments)?.all("200")
    }

    /// From a change at the API server to the first read that shows it, alone and while counts are read.
    pub(crate) fn changes(&mut self) -> Result<(), Error> {
        let (headcount, peer) = self.both()?;
        let paths = self.write_paths()?;
        let (kubeconfig, namespace, name) = self.changed();
        let n = self.sizes.changes.to_string();
        let arguments = [
            "-kubeconfig",
            &kubeconfig,
            "-namespace",
            &namespace,
            "-name",
            &name,
            "-n",
            &n,
        ];
        let while_reading = [
            "-paths",
            &paths,
            "-rate",
            "20000",
            "-duration",
            // Longer than the changes take; what is left of it is waited for.
            &format!("{}ms", 1500 + self.sizes.changes * 20),
        ];
        for (title, reading) in [
            ("change to visible, idle", false),
            ("change to visible, 20,000 reads/s meanwhile", true),
        ] {
            crate::say(title);
            for _ in 0..self.sizes.rounds {
                for server in [&headcount, &peer] {
                    let meanwhile = reading
                        .then(|| self.place.start_driver(server, "load", &while_reading))
                        .transpose()?;
                    sleep(Duration::from_millis(500));
                    let found = self.place.drive(server, "lag", &arguments)?;
                    for (quantile, name) in [("p50", "p50us"), ("p99", "p99us")] {
                        let aims = [Aim::OfPeer(1.0)];
                        let value = found.number(name)?;
                        self.figures.note(
                            &format!("{title}: {quantile}"),
                            "µs",
                            &aims,
                            server.side,
                            value,
                        );
                    }
                    if let Some(load) = meanwhile {
                        let rate = load.finish()?.all("200")?.number("perSecond")?;
                        let title = format!("{title}: reads answered");
                        self.figures.note(&title, "/s", &[], server.side, rate);
                    }
                }
            }
        }
        Ok(())
    }

    fn changed(&self) -> (String, String, String) {
        let seed = seed(self.held);
        (
            self.kubeconfig().display().to_string(),
            seed.namespace(0),
            seed.name(0),
        )
    }

    /// What a write through a server takes more than a patch at the API server.
    pub(crate) fn writes(&mut self) -> Result<(), Error> {
        crate::say("writes");
        let (headcount, peer) = self.both()?;
        let (kubeconfig, namespace, name) = self.changed();
        let n = self.sizes.changes.to_string();
        let place = ["-kubeconfig", &kubeconfig, "-namespace", &namespace];
        let arguments = [&place, ["-name", &name, "-n", &n].as_slice()].concat();
        for _ in 0..self.sizes.rounds {
            for server in [&headcount, &peer] {
                let found = self.place.drive(server, "write", &arguments)?;
                let direct = found.number("directP50us")?;
                let through = found.number("throughP50us")?;
                let title = "write, more than a direct patch: p50";
                let aims = [Aim::AtMost(0.1)];
                let more = (through - direct) / 1e3;
                self.figures.note(title, "ms", &aims, server.side, more);
                let title = "write (limit: a direct patch): p50";
                self.figures
                    .note(title, "ms", &[], server.side, through / 1e3);
                if server.side == Side::Headcount {
                    self.figures
                        .note(title, "ms", &[], Side::Limit, direct / 1e3);
                }
            }
        }
        Ok(())
    }

    /// Memory of connections that have sent a request and wait.
    pub(crate) fn idle(&mut self) -> Result<(), Error> {
        crate::say("idle connections");
        let path = path_of(0);
        let n = self.sizes.idle.to_string();
        for _ in 0..self.sizes.rounds {
            let (headcount, peer) = self.both()?;
            let ceiling = self.place.ceiling(0)?;
            for server in [&headcount, &peer, &ceiling] {
                sleep(SETTLE);
                let before = server.proc().resident()?;
                let arguments = ["-path", &path, "-n", &n];
                let mut meanwhile = self.place.start_driver(server, "idle", &arguments)?;
                meanwhile.first_line()?;
                sleep(SETTLE);
                let most = server.proc().resident()?;
                drop(meanwhile);
                let each = (most - before) * 1e6 / f64::from(self.sizes.idle) / 1024.0;
                let title = "idle connection, mutual TLS";
                let aims = [Aim::AtMost(16.0)];
                self.figures.note(title, "KiB", &aims, server.side, each);
            }
        }
        Ok(())
    }
}
