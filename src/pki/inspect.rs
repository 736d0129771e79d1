//! What a certificate says, read from its PEM text.

use super::key::{encode_pem, kind_of_spki};
use super::policy::{KeyKind, Permit, San, Usage};
use crate::diag::Fault;
use aws_lc_rs::digest::{SHA256, digest};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use std::net::IpAddr;
use time::OffsetDateTime;
use x509_parser::certificate::X509Certificate;
use x509_parser::error::X509Error;
use x509_parser::extensions::{ExtendedKeyUsage, GeneralName, KeyUsage, ParsedExtension};
use x509_parser::prelude::FromDer as _;
use x509_parser::x509::X509Name;

/// A certificate that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertInfo {
    /// The subject, as `CN=main CA, O=Example`.
    pub subject: String,
    /// The subject's (first) CN.
    pub common_name: Option<String>,
    /// The issuer, in the form of `subject`.
    pub issuer: String,
    /// The serial number in lower-case hexadecimal.
    pub serial: String,
    /// Names and addresses it stands for.
    pub sans: Vec<San>,
    /// Alternative names of other kinds (e-mail, URI), as text.
    pub other_names: Vec<String>,
    /// Start of its life.
    pub not_before: OffsetDateTime,
    /// End of its life.
    pub not_after: OffsetDateTime,
    /// The kind of its key, or what it is if not one of ours.
    pub key_kind: Result<KeyKind, String>,
    /// Whether it may sign certificates by its basic constraints.
    pub is_ca: bool,
    /// How many CAs may stand below it.
    pub path_len: Option<u32>,
    /// Key usage bits by their RFC 5280 names; `None` when it has no such extension, which permits all.
    pub key_usages: Option<Vec<&'static str>>,
    /// What it may be used for in TLS, if that is exactly what its extended key usage says.
    pub usage: Option<Usage>,
    /// For a CA: the only names and addresses that leaves below it may have; empty when it is free.
    pub permitted: Vec<Permit>,
    /// Subject key identifier in lower-case hexadecimal.
    pub subject_key_id: Option<String>,
    /// Authority key identifier in lower-case hexadecimal.
    pub authority_key_id: Option<String>,
    /// Its public key (SubjectPublicKeyInfo, DER).
    pub spki: Vec<u8>,
    /// SHA-256 of the whole certificate in lower-case hexadecimal.
    pub fingerprint: String,
    /// The certificate itself.
    pub der: Vec<u8>,
}

impl CertInfo {
    /// Reads the first certificate of a PEM text.
    ///
    /// # Errors
    /// There is none, or it cannot be read.
    pub fn first(pem: &str) -> Result<Self, Fault> {
        match CertificateDer::pem_slice_iter(pem.as_bytes()).next() {
            Some(Ok(der)) => Self::from_der(&der),
            Some(Err(_)) => Err(undecodable()),
            None => Err(Fault::task("the text holds no certificate in PEM form")),
        }
    }

    /// Reads every certificate of a PEM text, in its order; none is an empty list.
    ///
    /// # Errors
    /// One of them cannot be read.
    pub fn all(pem: &str) -> Result<Vec<Self>, Fault> {
        CertificateDer::pem_slice_iter(pem.as_bytes())
            .map(|der| Self::from_der(&der.map_err(|_| undecodable())?))
            .collect()
    }

    /// Reads a certificate from DER.
    ///
    /// # Errors
    /// It is not a certificate.
    pub fn from_der(der: &[u8]) -> Result<Self, Fault> {
        let damaged = || Fault::task("the certificate is damaged: it is not valid DER");
        let (rest, cert) = X509Certificate::from_der(der).map_err(|_| damaged())?;
        if !rest.is_empty() {
            return Err(damaged());
        }
        let mut info = Self {
            subject: cert.subject().to_string(),
            common_name: cert
                .subject()
                .iter_common_name()
                .next()
                .and_then(|cn| cn.as_str().ok())
                .map(String::from),
            issuer: cert.issuer().to_string(),
            serial: hex(&cert.serial.to_bytes_be()),
            sans: Vec::new(),
            other_names: Vec::new(),
            not_before: cert.validity().not_before.to_datetime(),
            not_after: cert.validity().not_after.to_datetime(),
            key_kind: kind_of_spki(cert.public_key().raw),
            is_ca: false,
            path_len: None,
            key_usages: None,
            usage: None,
            permitted: Vec::new(),
            subject_key_id: None,
            authority_key_id: None,
            spki: cert.public_key().raw.to_vec(),
            fingerprint: hex(digest(&SHA256, der).as_ref()),
            der: der.to_vec(),
        };
        for extension in cert.extensions() {
            info.read_extension(extension.parsed_extension())?;
        }
        Ok(info)
    }

    /// Its PEM text.
    pub fn to_pem(&self) -> String {
        encode_pem("CERTIFICATE", &self.der)
    }

    /// Whether `ca` signed it; `Err` says in words why not.
    ///
    /// # Errors
    /// A sentence that continues "it was not issued by this CA: ".
    pub fn issued_by(&self, ca: &CertInfo) -> Result<(), String> {
        let parse = |der| X509Certificate::from_der(der).map(|(_, cert)| cert).map_err(|e| e.to_string());
        // The borrowed forms are parsed again: they cannot be kept beside the bytes that they borrow from.
        let (cert, authority) = (parse(&self.der)?, parse(&ca.der)?);
        if cert.issuer().as_raw() != authority.subject().as_raw() {
            return Err(format!("its issuer is `{}`, not `{}`", self.issuer, ca.subject));
        }
        match cert.verify_signature(Some(authority.public_key())) {
            Ok(()) => Ok(()),
            Err(X509Error::SignatureUnsupportedAlgorithm) => {
                Err("its signature algorithm is not supported".to_string())
            }
            Err(_) => Err(format!("another CA that is also named `{}` signed it", ca.subject)),
        }
    }

    /// Whole days until its end; negative when that is past.
    pub fn days_left(&self, now: OffsetDateTime) -> i64 {
        (self.not_after.unix_timestamp() - now.unix_timestamp()).div_euclid(86_400)
    }

    /// How its names differ from `wanted` as a set.
    pub(super) fn name_changes(&self, wanted: &[San]) -> Option<String> {
        if let Some(missing) = wanted.iter().find(|san| !self.sans.contains(san)) {
            return Some(format!("the name `{missing}` is missing in it"));
        }
        if let Some(extra) = self.sans.iter().find(|san| !wanted.contains(san)) {
            return Some(format!("the name `{extra}` in it is no longer wanted"));
        }
        self.other_names.first().map(|extra| format!("the name `{extra}` in it is no longer wanted"))
    }

    /// Whether a key usage bit is set; a certificate without the extension permits all.
    pub(super) fn permits(&self, usage: &str) -> bool {
        self.key_usages.as_ref().is_none_or(|usages| usages.contains(&usage))
    }

    fn read_extension(&mut self, extension: &ParsedExtension<'_>) -> Result<(), Fault> {
        match extension {
            ParsedExtension::SubjectAlternativeName(names) => {
                for name in &names.general_names {
                    self.read_name(name);
                }
            }
            ParsedExtension::BasicConstraints(basic) => {
                self.is_ca = basic.ca;
                self.path_len = basic.path_len_constraint;
            }
            ParsedExtension::KeyUsage(usage) => self.key_usages = Some(key_usages(usage)),
            ParsedExtension::ExtendedKeyUsage(usage) => self.usage = tls_usage(usage),
            ParsedExtension::NameConstraints(constraints) => {
                let permitted = constraints.permitted_subtrees.iter().flatten();
                self.permitted = permitted.filter_map(|subtree| permit(&subtree.base)).collect();
            }
            ParsedExtension::SubjectKeyIdentifier(id) => self.subject_key_id = Some(hex(id.0)),
            ParsedExtension::AuthorityKeyIdentifier(id) => {
                self.authority_key_id = id.key_identifier.as_ref().map(|id| hex(id.0));
            }
            ParsedExtension::ParseError { .. } => {
                return Err(Fault::task("the certificate is damaged: one of its extensions cannot be read"));
            }
            _ => {}
        }
        Ok(())
    }

    fn read_name(&mut self, name: &GeneralName<'_>) {
        match name {
            GeneralName::DNSName(name) => self.sans.push(San::Dns(name.to_ascii_lowercase())),
            GeneralName::IPAddress(bytes) => match address(bytes) {
                Some(ip) => self.sans.push(San::Ip(ip)),
                None => self.other_names.push(hex(bytes)),
            },
            other => self.other_names.push(other.to_string()),
        }
    }
}

/// Attributes of a name that our signer cannot write again byte for byte; an issuer name must be.
pub(super) fn unwritable_name(der: &[u8]) -> Option<&'static str> {
    let (_, cert) = X509Certificate::from_der(der).ok()?;
    let name: &X509Name<'_> = cert.subject();
    let mut seen = Vec::new();
    for rdn in name.iter() {
        if rdn.iter().count() != 1 {
            return Some("an attribute group with more than one value");
        }
        for attribute in rdn.iter() {
            let kind = attribute.attr_type().to_id_string();
            if seen.contains(&kind) {
                return Some("the same attribute (like `DC` or `OU`) more than once");
            }
            seen.push(kind);
        }
    }
    seen.is_empty().then_some("nothing at all")
}

fn undecodable() -> Fault {
    Fault::task("the certificate is damaged: its PEM text cannot be decoded")
}

fn permit(base: &GeneralName<'_>) -> Option<Permit> {
    match base {
        GeneralName::DNSName(name) => Some(Permit::Dns(name.trim_start_matches('.').to_ascii_lowercase())),
        GeneralName::IPAddress(bytes) => {
            let (net, mask) = bytes.split_at_checked(bytes.len() / 2)?;
            ipnet::IpNet::with_netmask(address(net)?, address(mask)?).ok().map(Permit::Net)
        }
        _ => None,
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
        _ => None,
    }
}

fn key_usages(usage: &KeyUsage) -> Vec<&'static str> {
    [
        (usage.digital_signature(), "digitalSignature"),
        (usage.non_repudiation(), "contentCommitment"),
        (usage.key_encipherment(), "keyEncipherment"),
        (usage.data_encipherment(), "dataEncipherment"),
        (usage.key_agreement(), "keyAgreement"),
        (usage.key_cert_sign(), "keyCertSign"),
        (usage.crl_sign(), "cRLSign"),
    ]
    .into_iter()
    .filter_map(|(set, name)| set.then_some(name))
    .collect()
}

fn tls_usage(usage: &ExtendedKeyUsage<'_>) -> Option<Usage> {
    match (usage.any, usage.server_auth, usage.client_auth) {
        (false, true, false) => Some(Usage::Server),
        (false, false, true) => Some(Usage::Client),
        (false, true, true) => Some(Usage::Peer),
        _ => None,
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|d| char::from_digit(d.into(), 16))
        .collect()
}
