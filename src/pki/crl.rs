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
        Err(ListFault::Damaged) => {
            Err(Fault::task("`crl.pem` is damaged: it holds no revocation list")
                .hint("restore it from a backup"))
        }
    }
}

/// Serial numbers in a list that `ca` signed.
pub(super) fn revoked_serials(crl_pem: &str, ca: &CertInfo) -> Result<Vec<String>, ListFault> {
    let der =
        CertificateRevocationListDer::from_pem_slice(crl_pem.as_bytes()).map_err(|_| ListFault::Damaged)?;
    let (_, list) = CertificateRevocationList::from_der(&der).map_err(|_| ListFault::Damaged)?;
    let (_, authority) = X509Certificate::from_der(&ca.der).map_err(|_| ListFault::Damaged)?;
    list.verify_signature(authority.public_key()).map_err(|_| ListFault::Foreign)?;
    Ok(list.iter_revoked_certificates().map(|one| super::inspect::hex(&one.serial().to_bytes_be())).collect())
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.is_ascii() || !text.len().is_multiple_of(2) {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok()).collect()
}
