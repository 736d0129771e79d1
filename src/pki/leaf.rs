//! Leaves: whether one has to be issued, and issuing it.

use super::ca::{Ca, not_yet, params, refused};
use super::inspect::CertInfo;
use super::key;
use super::policy::{LeafPolicy, Permit, SERIAL_LEN, San, Usage};
use crate::diag::Fault;
use rcgen::string::Ia5String;
use rcgen::{DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose, PublicKeyData as _};
use rcgen::{SanType, SubjectPublicKeyInfo};
use rustls_pki_types::CertificateSigningRequestDer;
use rustls_pki_types::pem::PemObject as _;
use time::{Date, Duration, OffsetDateTime, UtcOffset};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer as _;

/// What there is to do about a leaf.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing.
    Keep {
        /// Whole days until its end.
        days_left: i64,
    },
    /// Issue one, with a new key.
    Issue {
        /// Why, in words.
        because: String,
    },
}

/// Decides about a leaf from the text that lies there, `None` when nothing does. `ca_pem` is the CA that shall have
/// issued it (the first certificate of the text counts).
///
/// # Errors
/// The policy cannot be, or the CA certificate cannot be read: the leaf is not to blame then.
pub fn needs(
    existing_cert_pem: Option<&str>,
    wanted: &LeafPolicy,
    ca_pem: &str,
    now: OffsetDateTime,
) -> Result<Verdict, Fault> {
    wanted.validate()?;
    let ca = CertInfo::first(ca_pem)
        .map_err(|fault| Fault { message: format!("CA certificate: {}", fault.message), ..fault })?;
    let issue = |because: String| Ok(Verdict::Issue { because });
    let Some(pem) = existing_cert_pem else {
        return issue("there is none yet".to_string());
    };
    let cert = match CertInfo::first(pem) {
        Ok(cert) => cert,
        Err(fault) => return issue(format!("the one that is there is unreadable: {}", fault.message)),
    };
    match mismatch(&cert, wanted, &ca).or_else(|| untimely(&cert, wanted, &ca, now)) {
        Some(because) => issue(because),
        None => Ok(Verdict::Keep { days_left: cert.days_left(now) }),
    }
}

/// As [`needs`], where the private key is at hand as well and must belong to the certificate.
///
/// # Errors
/// As [`needs`].
pub fn needs_with_key(
    existing_cert_pem: Option<&str>,
    existing_key_pem: Option<&str>,
    wanted: &LeafPolicy,
    ca_pem: &str,
    now: OffsetDateTime,
) -> Result<Verdict, Fault> {
    let verdict = needs(existing_cert_pem, wanted, ca_pem, now)?;
    let (Verdict::Keep { .. }, Some(cert_pem)) = (&verdict, existing_cert_pem) else {
        return Ok(verdict);
    };
    let because = match existing_key_pem.map(|key_pem| key::key_matches(cert_pem, key_pem)) {
        Some(Ok(true)) => return Ok(verdict),
        Some(Ok(false)) => "its private key belongs to another certificate".to_string(),
        Some(Err(fault)) => format!("its private key is unreadable: {}", fault.message),
        None => "its private key is gone".to_string(),
    };
    Ok(Verdict::Issue { because })
}

impl Ca {
    /// Issues a leaf for a new key (`generate_key`) and gives its PEM text.
    ///
    /// # Errors
    /// The policy cannot be, the key is not of the policy's kind, or the CA is not valid now.
    pub fn issue(
        &self,
        policy: &LeafPolicy,
        key_pem: &str,
        serial: [u8; SERIAL_LEN],
        now: OffsetDateTime,
    ) -> Result<String, Fault> {
        let key = key::read(key_pem)?;
        self.sign(policy, &key.subject_public_key_info(), serial, now)
    }

    /// Issues a leaf for a key that stays on its host, from a PKCS#10 request. Only the key is taken from the request:
    /// names and usages are the policy's.
    ///
    /// # Errors
    /// As [`issue`](Self::issue), and a request that cannot be read or was not signed with the key it names.
    pub fn sign_request(
        &self,
        policy: &LeafPolicy,
        request_pem: &str,
        serial: [u8; SERIAL_LEN],
        now: OffsetDateTime,
    ) -> Result<String, Fault> {
        let unreadable = || Fault::task("the certificate request cannot be read");
        let der =
            CertificateSigningRequestDer::from_pem_slice(request_pem.as_bytes()).map_err(|_| unreadable())?;
        let (_, request) = X509CertificationRequest::from_der(&der).map_err(|_| unreadable())?;
        request
            .verify_signature()
            .map_err(|_| Fault::task("the certificate request was not signed with the key that it names"))?;
        self.sign(policy, request.certification_request_info.subject_pki.raw, serial, now)
    }

    fn sign(
        &self,
        policy: &LeafPolicy,
        spki: &[u8],
        serial: [u8; SERIAL_LEN],
        now: OffsetDateTime,
    ) -> Result<String, Fault> {
        policy.validate()?;
        match key::kind_of_spki(spki) {
            Ok(kind) if kind == policy.key_kind => {}
            Ok(kind) => {
                return Err(Fault::task(format!("the key is {kind}, but {} is wanted", policy.key_kind)));
            }
            Err(other) => {
                return Err(Fault::task(format!("the key is {other}, but {} is wanted", policy.key_kind)));
            }
        }
        let authority = self.info();
        if now < authority.not_before {
            return Err(not_yet(authority));
        }
        if now >= authority.not_after {
            return Err(Fault::task(format!("the CA expired on {}", day(authority.not_after)))
                .hint("rotate the CA before any leaf is issued"));
        }

        // Without a DNS name among the alternative ones, openssl holds a CN that looks like one against the constraints.
        let dotted = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let named = policy.sans.iter().any(|san| matches!(san, San::Dns(_)));
        let name = &policy.common_name;
        let as_name = (!named && name.contains('.') && name.chars().all(dotted))
            .then(|| San::Dns(name.to_ascii_lowercase()));
        let forbidden = Permit::forbidden(&authority.permitted, &policy.sans);
        if let Some(san) = forbidden.or_else(|| Permit::forbidden(&authority.permitted, as_name.as_slice())) {
            let permitted = authority.permitted.iter().map(Permit::to_string).collect::<Vec<_>>().join(", ");
            return Err(Fault::param("names", format!("the CA may not sign for `{san}`"))
                .note(format!("its name constraints permit {permitted}"))
                .hint(
                    "every verifier would refuse it: use another name, or rotate to a CA that permits it",
                ));
        }
        let mut name = DistinguishedName::new();
        name.push(DnType::CommonName, policy.common_name.as_str());
        let mut params = params(name, serial, now, policy.days)?;
        // No chain is valid outside its CA's time, so a leaf does not pretend to be.
        params.not_before = params.not_before.max(authority.not_before);
        params.not_after = params.not_after.min(authority.not_after);
        params.subject_alt_names = policy.sans.iter().map(alternative_name).collect::<Result<_, _>>()?;
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        if policy.key_kind.is_rsa() {
            params.key_usages.push(KeyUsagePurpose::KeyEncipherment);
        }
        params.extended_key_usages = extended_usages(policy.usage);
        let public_key = SubjectPublicKeyInfo::from_der(spki).map_err(refused)?;
        let cert = params.signed_by(&public_key, &self.issuer()?).map_err(refused)?;

        // Whatever is issued must satisfy the same judge on the next run, or it would be issued for ever.
        let cert = CertInfo::from_der(cert.der())?;
        match mismatch(&cert, policy, authority).or_else(|| untimely(&cert, policy, authority, now)) {
            None => Ok(cert.to_pem()),
            Some(because) => {
                Err(Fault::task(format!("the issued certificate is not what was asked for: {because}")))
            }
        }
    }
}

/// The day of a point in time, in UTC.
pub(super) fn day(at: OffsetDateTime) -> Date {
    at.to_offset(UtcOffset::UTC).date()
}

fn mismatch(cert: &CertInfo, wanted: &LeafPolicy, ca: &CertInfo) -> Option<String> {
    if let Err(why) = cert.issued_by(ca) {
        return Some(format!("another CA issued it: {why}"));
    }
    if cert.common_name.as_deref() != Some(wanted.common_name.as_str()) {
        let name = cert.common_name.as_deref().unwrap_or_default();
        return Some(format!("its common name is `{name}`, not `{}`", wanted.common_name));
    }
    if let Some(change) = cert.name_changes(&wanted.sans) {
        return Some(change);
    }
    if cert.is_ca {
        return Some("it is a CA certificate, not a leaf".to_string());
    }
    if !cert.permits("digitalSignature") {
        return Some("its key may not sign handshakes (key usage digitalSignature)".to_string());
    }
    if cert.usage != Some(wanted.usage) {
        let usage = cert.usage.map_or_else(|| "something else".to_string(), |usage| usage.to_string());
        return Some(format!("it is for use as {usage}, not as {}", wanted.usage));
    }
    match &cert.key_kind {
        Ok(kind) if *kind == wanted.key_kind => None,
        Ok(kind) => Some(format!("its key is {kind}, not {}", wanted.key_kind)),
        Err(other) => Some(format!("its key is {other}, not {}", wanted.key_kind)),
    }
}

fn untimely(cert: &CertInfo, wanted: &LeafPolicy, ca: &CertInfo, now: OffsetDateTime) -> Option<String> {
    if now < cert.not_before {
        return Some(format!("it is valid only from {}", cert.not_before));
    }
    if cert.not_after <= now {
        return Some(format!("it expired on {}", day(cert.not_after)));
    }
    if cert.not_after - now >= wanted.renew_before() {
        return None;
    }
    // In the last days of a CA a new leaf would end with it too: only what gains time is issued.
    let new_end =
        now.checked_add(Duration::days(wanted.days.into())).map_or(ca.not_after, |end| end.min(ca.not_after));
    if new_end - cert.not_after < Duration::hours(1) {
        return None;
    }
    Some(format!("it expires on {}, in {} days", day(cert.not_after), cert.days_left(now)))
}

fn alternative_name(san: &San) -> Result<SanType, Fault> {
    Ok(match san {
        San::Dns(name) => SanType::DnsName(Ia5String::try_from(name.as_str()).map_err(refused)?),
        San::Ip(ip) => SanType::IpAddress(*ip),
    })
}

fn extended_usages(usage: Usage) -> Vec<ExtendedKeyUsagePurpose> {
    let server = usage.serves().then_some(ExtendedKeyUsagePurpose::ServerAuth);
    let client = usage.logs_in().then_some(ExtendedKeyUsagePurpose::ClientAuth);
    server.into_iter().chain(client).collect()
}
