//! Bundles of CA certificates: what a host trusts while one CA takes the place of another.

use super::inspect::CertInfo;
use crate::diag::Fault;
use time::OffsetDateTime;

/// One PEM text of all certificates of `pems`, each once, in the given order. Put the issuing CA first.
///
/// # Errors
/// One of them cannot be read, is not a CA, or there is none at all.
pub fn join<I>(pems: I) -> Result<String, Fault>
where
    I: IntoIterator<Item: AsRef<str>>,
{
    let mut certs: Vec<CertInfo> = Vec::new();
    for pem in pems {
        for cert in CertInfo::all(pem.as_ref())? {
            if !cert.is_ca {
                return Err(Fault::task(format!("`{}` is not a CA: a bundle would trust it", cert.subject)));
            }
            if !certs.contains(&cert) {
                certs.push(cert);
            }
        }
    }
    write(&certs)
}

/// Whether the bundle holds the (first) certificate of `cert_pem`.
///
/// # Errors
/// Either text cannot be read.
pub fn contains(bundle: &str, cert_pem: &str) -> Result<bool, Fault> {
    Ok(CertInfo::all(bundle)?.contains(&CertInfo::first(cert_pem)?))
}

/// The bundle without the (first) certificate of `cert_pem`.
///
/// # Errors
/// Either text cannot be read, or nothing would be left to trust.
pub fn without(bundle: &str, cert_pem: &str) -> Result<String, Fault> {
    let gone = CertInfo::first(cert_pem)?;
    let rest: Vec<_> = CertInfo::all(bundle)?.into_iter().filter(|cert| *cert != gone).collect();
    write(&rest)
}

/// Whether a host with this bundle accepts the leaf at `now`: the gate between the steps of a rotation.
///
/// # Errors
/// Either text cannot be read.
pub fn trusts(bundle: &str, leaf_pem: &str, now: OffsetDateTime) -> Result<bool, Fault> {
    let leaf = CertInfo::first(leaf_pem)?;
    let valid = |cert: &CertInfo| cert.not_before <= now && now < cert.not_after;
    Ok(valid(&leaf) && CertInfo::all(bundle)?.iter().any(|ca| valid(ca) && leaf.issued_by(ca).is_ok()))
}

fn write(certs: &[CertInfo]) -> Result<String, Fault> {
    if certs.is_empty() {
        return Err(Fault::task("a bundle without any CA would refuse everybody"));
    }
    Ok(certs.iter().map(CertInfo::to_pem).collect())
}
