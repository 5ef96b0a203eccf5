//! An address as a flag, a variable and the file have it.

use std::{
    net::{AddrParseError, SocketAddr},
    str::FromStr,
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An address to listen at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(extend("pattern" = ":[0-9]+$"))]
pub struct Address(pub(super) SocketAddr);

/// Not an address.
#[derive(Debug, thiserror::Error)]
#[error("give an IP address and a port, like 0.0.0.0:8443 or [::]:8443")]
pub struct NotAnAddress(#[from] AddrParseError);

impl FromStr for Address {
    type Err = NotAnAddress;

    fn from_str(text: &str) -> Result<Self, NotAnAddress> {
        Ok(Self(text.parse()?))
    }
}

impl From<Address> for String {
    fn from(address: Address) -> Self {
        address.0.to_string()
    }
}

impl TryFrom<String> for Address {
    type Error = NotAnAddress;

    fn try_from(text: String) -> Result<Self, NotAnAddress> {
        text.parse()
    }
}
