//! The cluster's certificate authority and the kubeconfigs that speak for its users.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, SanType,
};

use crate::Error;
use crate::error::write;

/// The files that the API server and the controllers are given, and the key that signs users' certificates.
#[derive(Debug)]
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: PathBuf,
}

/// A certificate and its private key, in PEM.
struct Pair {
    certificate: String,
    key: String,
}

/// What a kubeconfig authenticates with.
pub(crate) enum Credentials<'a> {
    /// A client certificate for this user.
    Certificate {
        user: &'a str,
        group: Option<&'a str>,
    },
    /// A bearer token.
    Token(&'a str),
}

impl Authority {
    /// Makes the authority, the API server's certificate and the ServiceAccounts' signing key in `folder`, which exists.
    pub(crate) fn create(folder: &Path) -> Result<Self, Error> {
        let mut params = CertificateParams::default();
        params.distinguished_name = subject("controlplane", None);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![
            KeyUsagePurpose::DigitalSignature,
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::CrlSign,
        ];
        let authority = Self {
            issuer: CertifiedIssuer::self_signed(params, KeyPair::generate()?)?,
            folder: folder.to_owned(),
        };
        write(&authority.ca(), authority.issuer.pem())?;
        write(&authority.ca_key(), authority.issuer.key().serialize_pem())?;

        let service_accounts = KeyPair::generate()?;
        write(
            &authority.service_account_key(),
            service_accounts.serialize_pem(),
        )?;
        write(
            &authority.service_account_public_key(),
            service_accounts.public_key_pem(),
        )?;

        let serving = authority.serving()?;
        write(&authority.serving_certificate(), serving.certificate)?;
        write(&authority.serving_key(), serving.key)?;
        Ok(authority)
    }

    pub(crate) fn ca(&self) -> PathBuf {
        self.folder.join("ca.crt")
    }

    pub(crate) fn ca_key(&self) -> PathBuf {
        self.folder.join("ca.key")
    }

    pub(crate) fn service_account_key(&self) -> PathBuf {
        self.folder.join("service-accounts.key")
    }

    pub(crate) fn service_account_public_key(&self) -> PathBuf {
        self.folder.join("service-accounts.pub")
    }

    pub(crate) fn serving_certificate(&self) -> PathBuf {
        self.folder.join("kube-apiserver.crt")
    }

    pub(crate) fn serving_key(&self) -> PathBuf {
        self.folder.join("kube-apiserver.key")
    }

    fn serving(&self) -> Result<Pair, Error> {
        let mut params = CertificateParams::new([
            "localhost".to_owned(),
            "kubernetes".to_owned(),
            "kubernetes.default".to_owned(),
            "kubernetes.default.svc".to_owned(),
            "kubernetes.default.svc.cluster.local".to_owned(),
        ])?;
        for address in [Ipv4Addr::LOCALHOST, crate::apiserver::SERVICE_ADDRESS] {
            params
                .subject_alt_names
                .push(SanType::IpAddress(IpAddr::V4(address)));
        }
        params.distinguished_name = subject("kube-apiserver", None);
        self.sign(params, ExtendedKeyUsagePurpose::ServerAuth)
    }

    fn sign(
        &self,
        mut params: CertificateParams,
        usage: ExtendedKeyUsagePurpose,
    ) -> Result<Pair, Error> {
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![usage];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        Ok(Pair {
            certificate: params.signed_by(&key, &self.issuer)?.pem(),
            key: key.serialize_pem(),
        })
    }

    /// Writes a kubeconfig that carries everything it needs in itself.
    pub(crate) fn write_kubeconfig(
        &self,
        path: &Path,
        server: &str,
        credentials: &Credentials<'_>,
    ) -> Result<(), Error> {
        let user = match credentials {
            Credentials::Certificate { user, group } => {
                let mut params = CertificateParams::default();
                params.distinguished_name = subject(user, *group);
                let pair = self.sign(params, ExtendedKeyUsagePurpose::ClientAuth)?;
                format!(
                    "client-certificate-data: {}\n    client-key-data: {}",
                    BASE64_STANDARD.encode(pair.certificate),
                    BASE64_STANDARD.encode(pair.key),
                )
            }
            Credentials::Token(token) => format!("token: {token}"),
        };
        write(
            path,
            kubeconfig(server, &BASE64_STANDARD.encode(self.issuer.pem()), &user),
        )
    }
}

fn kubeconfig(server: &str, ca: &str, user: &str) -> String {
    format!(
        "apiVersion: v1
kind: Config
clusters:
- name: controlplane
  cluster:
    server: {server}
    certificate-authority-data: {ca}
users:
- name: user
  user:
    {user}
contexts:
- name: controlplane
  context:
    cluster: controlplane
    user: user
current-context: controlplane
"
    )
}

/// Kubernetes takes the user from the common name and the group from the organization.
fn subject(user: &str, group: Option<&str>) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, user);
    if let Some(group) = group {
        name.push(DnType::OrganizationName, group);
    }
    name
}
