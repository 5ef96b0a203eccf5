//! The drivers, one process each, which end with one line of JSON.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

use crate::error::Error;
use crate::server::{Place, Server};

/// What a driver found: numbers by name.
#[derive(Debug)]
pub(crate) struct Found(Value);

impl Found {
    /// A number that every run of this driver gives.
    pub(crate) fn number(&self, name: &str) -> Result<f64, Error> {
        self.0[name]
            .as_f64()
            .ok_or_else(|| Error::Unexpected(format!("the driver gave no {name}: {}", self.0)))
    }

    /// Fails unless every answer had this status, and no worker failed.
    pub(crate) fn all(self, status: &str) -> Result<Self, Error> {
        let only = self.0["statuses"]
            .as_object()
            .is_some_and(|statuses| statuses.keys().all(|seen| seen == status));
        if only && self.0["failed"] == 0 {
            return Ok(self);
        }
        Err(Error::Unexpected(format!(
            "not every answer was {status}: {}",
            self.0
        )))
    }
}

impl Place {
    fn command(&self, driver: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.programs.join("bench-go"));
        command
            .arg(driver)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        command
    }

    fn towards(&self, server: &Server, driver: &str, arguments: &[&str]) -> Command {
        let files = &self.certificates;
        let mut command = self.command(driver, arguments);
        command
            .args(["-address", server.address()])
            .arg("-cert")
            .arg(&files.client.certificate)
            .arg("-key")
            .arg(&files.client.key)
            .arg("-ca")
            .arg(&files.ca);
        command
    }

    /// Runs a driver that drives no server of ours.
    pub(crate) fn drive_cluster(&self, driver: &str, arguments: &[&str]) -> Result<Found, Error> {
        let output = self.command(driver, arguments).output();
        found(driver, output.map_err(Error::io("run a driver"))?)
    }

    /// Runs a driver to its end.
    pub(crate) fn drive(
        &self,
        server: &Server,
        driver: &str,
        arguments: &[&str],
    ) -> Result<Found, Error> {
        let output = self.towards(server, driver, arguments).output();
        found(driver, output.map_err(Error::io("run a driver"))?)
    }

    /// Starts a driver that runs meanwhile.
    pub(crate) fn start_driver(
        &self,
        server: &Server,
        driver: &str,
        arguments: &[&str],
    ) -> Result<Meanwhile, Error> {
        let child = self.towards(server, driver, arguments).spawn();
        Ok(Meanwhile(Some(child.map_err(Error::io("run a driver"))?)))
    }
}

/// A driver that runs meanwhile; dropping it kills it.
#[derive(Debug)]
pub(crate) struct Meanwhile(Option<Child>);

impl Meanwhile {
    /// Waits until the driver says something.
    pub(crate) fn first_line(&mut self) -> Result<(), Error> {
        let stdout = self.0.as_mut().and_then(|child| child.stdout.as_mut());
        let mut line = String::new();
        if let Some(stdout) = stdout {
            BufReader::new(stdout)
                .read_line(&mut line)
                .map_err(Error::io("hear from a driver"))?;
        }
        if line.is_empty() {
            return Err(Error::Unexpected("a driver ended early".into()));
        }
        Ok(())
    }

    /// Ends its stdin and waits for what it found.
    pub(crate) fn finish(mut self) -> Result<Found, Error> {
        let Some(child) = self.0.take() else {
            return Err(Error::Unexpected("a driver finished twice".into()));
        };
        let output = child.wait_with_output();
        found("driver", output.map_err(Error::io("wait for a driver"))?)
    }
}

impl Drop for Meanwhile {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn found(driver: &str, output: Output) -> Result<Found, Error> {
    if !output.status.success() {
        return Err(Error::Unexpected(format!(
            "the driver {driver} ended with {}; it says why above",
            output.status
        )));
    }
    serde_json::from_slice(&output.stdout)
        .map(Found)
        .map_err(|error| {
            let said = String::from_utf8_lossy(&output.stdout);
            Error::Unexpected(format!("{driver} said no JSON ({error}): {said}"))
        })
}
