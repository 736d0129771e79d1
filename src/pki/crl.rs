//! Revocation lists: which certificates count no more although their time is not over.

use super::ca::{Ca, refused};
use super::inspect::CertInfo;
use super::state::{Entry, moment};
use crate::diag::Fault;
use rcgen::{
    CertificateRevocationListParams, KeyIdMethod, RevocationReason, RevokedCertParams, SerialNumber,
};
use rustls_pki_types::CertificateRevocationListDer;
use rustls_pki_types::pem::PemObject as _;
use time::OffsetDateTime;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;
use x509_parser::revocation_list::CertificateRevocationList;

impl Ca {
    /// A signed list (PEM) of the revoked ones among `entries`.
    ///
    /// It holds until the CA's own end: PostgreSQL refuses every client by a list that ran out, so one that nobody
    /// renews must not become an outage.
    ///
    /// # Errors
    /// The CA may not sign lists, or a record is damaged.
    pub fn revocation_list(&self, entries: &[Entry], now: OffsetDateTime) -> Result<String, Fault> {
        let mut revoked_certs = Vec::new();
        for entry in entries {
            let Some(at) = entry.revoked.as_ref().filter(|_| entry.listed_by(self.info())) else { continue };
            let damaged = || Fault::task(format!("the record of `{}` is damaged", entry.serial));
            revoked_certs.push(RevokedCertParams {
                serial_number: SerialNumber::from_slice(&unhex(&entry.serial).ok_or_else(damaged)?),
                revocation_time: moment(at).ok_or_else(damaged)?,
                reason_code: Some(RevocationReason::Unspecified),
                invalidity_date: None,
            });
        }
        // RFC 5280 wants each list to have a greater number than the one before: seconds do.
        let number = u64::try_from(now.unix_timestamp()).unwrap_or_default();
        let params = CertificateRevocationListParams {
            this_update: now.replace_nanosecond(0).unwrap_or(now) - super::BACKDATE,
            next_update: self.info().not_after,
            crl_number: SerialNumber::from(number),
            issuing_distribution_point: None,
            revoked_certs,
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = params.signed_by(&self.issuer()?).map_err(refused)?;
        Ok(super::key::encode_pem("X509 CRL", list.der()))
    }
}

/// Why a list cannot be used.
pub(super) enum ListFault {
    Damaged,
    /// Another CA signed it.
    Foreign,
}

/// Whether the list (PEM) that `ca_pem`'s CA signed names the serial number; a list of another CA names none.
///
/// # Errors
/// Either text cannot be read.
pub fn is_revoked(crl_pem: &str, ca_pem: &str, serial: &str) -> Result<bool, Fault> {
    match revoked_serials(crl_pem, &CertInfo::first(ca_pem)?) {
        Ok(serials) => Ok(serials.iter().any(|one| one == serial)),
        Err(ListFault::Foreign) => Ok(false),
        Err(ListFault::Damaged) => Err(damaged()),
    }
}

/// The lists of `crl_pem` that another CA than `ca` signed, followed by `own`, its new one. While one CA takes the place
/// of another, and below an intermediate, a server needs the list of each CA that it trusts.
///
/// # Errors
/// The text holds something that is no list.
pub fn with_list(crl_pem: &str, ca: &CertInfo, own: &str) -> Result<String, Fault> {
    let foreign = |der: &&CertificateRevocationListDer<'static>| serials(der, ca).is_err();
    let kept = lists(crl_pem).map_err(|_| damaged())?;
    let kept = kept.iter().filter(foreign).map(|der| super::key::encode_pem("X509 CRL", der));
    Ok(kept.chain([own.to_owned()]).collect())
}

/// The CAs of a bundle (PEM) that none of the lists (PEM) is from. OpenSSL, told to obey lists, refuses everybody below
/// such a CA (`X509_V_FLAG_CRL_CHECK_ALL`, which PostgreSQL sets for `ssl_crl_file`).
///
/// # Errors
/// Either text cannot be read.
pub fn without_list(bundle: &str, crl_pem: &str) -> Result<Vec<String>, Fault> {
    let lists = lists(crl_pem).map_err(|_| damaged())?;
    let cas = CertInfo::all(bundle)?;
    let silent = cas.into_iter().filter(|ca| lists.iter().all(|der| serials(der, ca).is_err()));
    Ok(silent.map(|ca| ca.subject).collect())
}

/// Serial numbers in the list that `ca` signed, among those of a text.
pub(super) fn revoked_serials(crl_pem: &str, ca: &CertInfo) -> Result<Vec<String>, ListFault> {
    let lists = lists(crl_pem)?;
    lists.iter().find_map(|der| serials(der, ca).ok()).ok_or(ListFault::Foreign)
}

fn lists(crl_pem: &str) -> Result<Vec<CertificateRevocationListDer<'static>>, ListFault> {
    let found: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(crl_pem.as_bytes()).collect();
    let found = found.map_err(|_| ListFault::Damaged)?;
    let sound = found.iter().all(|der| CertificateRevocationList::from_der(der).is_ok());
    if found.is_empty() || !sound { Err(ListFault::Damaged) } else { Ok(found) }
}

/// Serial numbers of one list, when `ca` signed it.
fn serials(der: &CertificateRevocationListDer<'_>, ca: &CertInfo) -> Result<Vec<String>, ListFault> {
    let (_, list) = CertificateRevocationList::from_der(der).map_err(|_| ListFault::Damaged)?;
    let (_, authority) = X509Certificate::from_der(&ca.der).map_err(|_| ListFault::Damaged)?;
    list.verify_signature(authority.public_key()).map_err(|_| ListFault::Foreign)?;
    Ok(list.iter_revoked_certificates().map(|one| super::inspect::hex(&one.serial().to_bytes_be())).collect())
}

fn damaged() -> Fault {
    Fault::task("`crl.pem` is damaged: it holds no revocation list").hint("restore it from a backup")
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.is_ascii() || !text.len().is_multiple_of(2) {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok()).collect()
}
