//! What clients will make of the chain that this server presents: its names, its order, its purpose.

use std::net::IpAddr;

use x509_parser::extensions::{GeneralName, ParsedExtension};

use super::{
    expiry::{Expiring, Expiry},
    facts::Facts,
    files::{TlsError, TlsMaterial},
};

/// The chain in the server's certificate file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OwnChain {
    /// When each certificate is valid, leaf first.
    pub(crate) certificates: Vec<Expiry>,
    /// The DNS names and addresses under which clients accept the leaf.
    pub(crate) names: Vec<String>,
    /// Whether the leaf is for servers; one that names no purpose is for all.
    pub(crate) is_for_servers: bool,
    /// The position, from 1, of the first certificate that the one behind it didn't issue.
    pub(crate) gap: Option<usize>,
}

impl TlsMaterial {
    /// Reads the server's certificate file as its clients will.
    pub(crate) fn own_chain(&self) -> Result<OwnChain, TlsError> {
        let chain = self.server_certificates()?;
        let facts: Vec<_> = chain
            .iter()
            .filter_map(|der| Facts::read(der).ok())
            .collect();
        let leaf = facts.first();
        let gap = facts.windows(2).position(|pair| {
            pair[0].certificate.issuer().as_raw() != pair[1].certificate.subject().as_raw()
        });
        let for_servers = |leaf: &Facts<'_>| {
            let usage = leaf.certificate.extended_key_usage().ok().flatten();
            usage.is_none_or(|usage| usage.value.server_auth || usage.value.any)
        };
        Ok(OwnChain {
            certificates: facts.iter().map(|f| f.expiry(Expiring::Server)).collect(),
            names: leaf.map(names).unwrap_or_default(),
            is_for_servers: leaf.is_none_or(for_servers),
            gap: gap.map(|position| position + 1),
        })
    }
}

fn names(leaf: &Facts<'_>) -> Vec<String> {
    let extensions = leaf.certificate.extensions().iter();
    let names = extensions.filter_map(|extension| match extension.parsed_extension() {
        ParsedExtension::SubjectAlternativeName(names) => Some(&names.general_names),
        _ => None,
    });
    let read = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => address(bytes).map(|address| address.to_string()),
        _ => None,
    };
    names.flatten().filter_map(read).collect()
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from).ok();
    v4.or_else(|| <[u8; 16]>::try_from(bytes).map(IpAddr::from).ok())
}
