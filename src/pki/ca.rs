//! The CA: made once, loaded from then on, and what there is to do about it.

use super::inspect::{CertInfo, unwritable_name};
use super::key;
use super::leaf::day;
use super::policy::{BACKDATE, CaPolicy, Permit, SERIAL_LEN, scram_warning};
use crate::diag::Fault;
use rcgen::{BasicConstraints, CertificateParams, CidrSubnet, DistinguishedName, DnType, GeneralSubtree};
use rcgen::{IsCa, Issuer, NameConstraints};
use rcgen::{KeyPair, KeyUsagePurpose, PublicKeyData as _, SerialNumber};
use rustls_pki_types::CertificateDer;
use std::fmt;
use time::{Duration, OffsetDateTime, UtcOffset};
use zeroize::Zeroizing;

/// A CA that can sign: its certificate and the key that belongs to it.
pub struct Ca {
    info: CertInfo,
    /// The CAs above it up to the root; none for a root.
    above: Vec<CertInfo>,
    key: Zeroizing<KeyPair>,
}

/// What there is to do about the CA.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CaVerdict {
    /// Nothing.
    Keep {
        /// Whole days until its end.
        days_left: i64,
    },
    /// There is none yet.
    Create {
        /// Why, in words.
        because: String,
    },
    /// It works or worked, but a new one shall take its place, beside it first (`pki::join`).
    Rotate {
        /// Why, in words.
        because: String,
        /// Whole days until its end; negative when that is past.
        days_left: i64,
    },
}

impl Ca {
    /// Makes a self-signed CA from a new key (`generate_key`) and a random serial number.
    ///
    /// # Errors
    /// A field of the policy that cannot be, or a key that is not of the policy's kind.
    pub fn create(
        policy: &CaPolicy,
        key_pem: &str,
        serial: [u8; SERIAL_LEN],
        now: OffsetDateTime,
    ) -> Result<Self, Fault> {
        policy.validate()?;
        let kind = key::key_kind(key_pem)?;
        if kind != policy.key_kind {
            return Err(Fault::task(format!("the CA key is {kind}, but {} is wanted", policy.key_kind)));
        }
        let key = key::read(key_pem)?;
        let mut name = DistinguishedName::new();
        if let Some(organization) = &policy.organization {
            name.push(DnType::OrganizationName, organization.as_str());
        }
        name.push(DnType::CommonName, policy.common_name.as_str());
        let mut params = params(name, serial, now, policy.days)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        if !policy.permits.is_empty() {
            let permitted_subtrees = policy.permits.iter().map(subtree).collect();
            params.name_constraints =
                Some(NameConstraints { permitted_subtrees, excluded_subtrees: Vec::new() });
        }
        let cert = params.self_signed(&*key).map_err(refused)?;
        Self::checked(CertInfo::from_der(cert.der())?, Vec::new(), key)
    }

    /// Loads a CA, ours or one that another program made, from its certificate and its (opened) key.
    ///
    /// # Errors
    /// Either text cannot be read, they do not belong together, or the certificate cannot serve as a site's CA.
    pub fn load(cert_pem: &str, key_pem: &str) -> Result<Self, Fault> {
        let mut certs = CertInfo::all(cert_pem).map_err(|fault| in_ca("certificate", fault))?.into_iter();
        let Some(info) = certs.next() else {
            return Err(Fault::task("the CA certificate file holds no certificate in PEM form"));
        };
        let key = key::read(key_pem).map_err(|fault| in_ca("key", fault))?;
        Self::checked(info, certs.collect(), key)
    }

    /// Its certificate as PEM text; below a root of another, with all certificates up to that one.
    pub fn cert_pem(&self) -> String {
        [&self.info].into_iter().chain(&self.above).map(CertInfo::to_pem).collect()
    }

    /// What its certificate says.
    pub fn info(&self) -> &CertInfo {
        &self.info
    }

    /// What the user should know about this CA, if anything.
    pub fn warning(&self) -> Option<&'static str> {
        self.info.key_kind.as_ref().ok().and_then(|kind| scram_warning(*kind))
    }

    pub(super) fn issuer(&self) -> Result<Issuer<'static, &KeyPair>, Fault> {
        Issuer::from_ca_cert_der(&CertificateDer::from(self.info.der.as_slice()), &*self.key).map_err(refused)
    }

    fn checked(info: CertInfo, above: Vec<CertInfo>, key: Zeroizing<KeyPair>) -> Result<Self, Fault> {
        let refuse = |why: String| Err(Fault::task(format!("the CA certificate `{}` {why}", info.subject)));
        if key.subject_public_key_info() != info.spki {
            return refuse("does not belong to the CA key".to_string()).map_err(|fault| {
                fault.hint("restore the pair from a backup: leaves out there trust this certificate")
            });
        }
        if !info.is_ca || !info.permits("keyCertSign") {
            return refuse("may not sign certificates (basicConstraints CA:TRUE, keyCertSign)".to_string());
        }
        if let Some(what) = unwritable_name(&info.der) {
            return refuse(format!("cannot be an issuer here: its subject holds {what}"));
        }
        let chain: Vec<&CertInfo> = [&info].into_iter().chain(&above).collect();
        for (depth, (cert, by)) in chain.iter().zip(chain.iter().skip(1)).enumerate() {
            if let Err(why) = cert.issued_by(by) {
                return refuse(format!("stands in a chain that is broken: `{}`: {why}", cert.subject))
                    .map_err(|fault| {
                        fault.hint("the issuing CA first, then each one's issuer, up to the root")
                    });
            }
            let room = by.path_len.is_none_or(|most| usize::try_from(most).is_ok_and(|most| depth < most));
            if !by.is_ca || !by.permits("keyCertSign") || !room {
                return refuse(format!("stands below `{}`, which does not allow it", by.subject)).map_err(
                    |fault| {
                        fault.hint("ask its owner for basicConstraints with room for one more CA (pathlen)")
                    },
                );
            }
        }
        let root = above.last().unwrap_or(&info);
        if let Err(why) = root.issued_by(root) {
            return refuse(format!("has no root above it: `{}` is not self-signed: {why}", root.subject))
                .map_err(|fault| {
                    fault.hint("PostgreSQL verifies up to a root: put the whole chain into the file")
                });
        }
        Ok(Self { info, above, key })
    }
}

impl fmt::Debug for Ca {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ca").field("subject", &self.info.subject).finish_non_exhaustive()
    }
}

/// Decides about the CA from the texts of its two files (the key already opened), `None` for a file that is absent.
///
/// # Errors
/// A CA that is there but damaged, incomplete or not usable: it is never overwritten, since every certificate out there
/// hangs on it.
pub fn ca_needs(
    cert_pem: Option<&str>,
    key_pem: Option<&str>,
    wanted: &CaPolicy,
    now: OffsetDateTime,
) -> Result<CaVerdict, Fault> {
    wanted.validate()?;
    let incomplete = |there: &str, gone: &str| {
        Fault::task(format!("there is a CA {there} but no CA {gone}"))
            .hint(format!("restore the {gone} from a backup"))
            .hint("or, if it is lost for good, move the folder away: hosts with its certificates are then named, and given up by name")
    };
    let ca = match (cert_pem, key_pem) {
        (None, None) => return Ok(CaVerdict::Create { because: "there is no CA yet".to_string() }),
        (Some(_), None) => return Err(incomplete("certificate", "key")),
        (None, Some(_)) => return Err(incomplete("key", "certificate")),
        (Some(cert), Some(key)) => Ca::load(cert, key).map_err(|fault| match fault.hints.is_empty() {
            true => {
                fault.hint("a CA that is there is never overwritten: for a new one, move both files away")
            }
            false => fault,
        })?,
    };
    let info = ca.info();
    if now < info.not_before {
        return Err(not_yet(info));
    }
    let days_left = info.days_left(now);
    if info.not_after <= now {
        return Ok(CaVerdict::Rotate {
            because: format!("it expired on {}", day(info.not_after)),
            days_left,
        });
    }
    // A CA of another lifetime (one from outside) is due in the last third of its own at the earliest.
    let renew_before = wanted.renew_before().min((info.not_after - info.not_before) / 3);
    if info.not_after - now < renew_before {
        let because = format!("it expires on {}, in {days_left} days", day(info.not_after));
        return Ok(CaVerdict::Rotate { because, days_left });
    }
    Ok(CaVerdict::Keep { days_left })
}

/// A CA from the future means a wrong clock, which must not lead to certificates.
pub(super) fn not_yet(ca: &CertInfo) -> Fault {
    Fault::task(format!("the CA `{}` is valid only from {}", ca.subject, ca.not_before))
        .hint("check the clock of this machine")
}

/// What CA and leaf certificates have in common; every default of the library that would be wrong is set.
pub(super) fn params(
    name: DistinguishedName,
    serial: [u8; SERIAL_LEN],
    now: OffsetDateTime,
    days: u32,
) -> Result<CertificateParams, Fault> {
    // Certificates count whole seconds.
    let now = now.to_offset(UtcOffset::UTC).replace_nanosecond(0).unwrap_or(now);
    let beyond =
        || Fault::task(format!("the clock of this machine reads {now}, which no certificate can hold"));
    let mut params = CertificateParams::default();
    params.not_before = now.checked_sub(BACKDATE).ok_or_else(beyond)?;
    params.not_after = now.checked_add(Duration::days(days.into())).ok_or_else(beyond)?;
    params.serial_number = Some(positive(serial));
    params.distinguished_name = name;
    Ok(params)
}

fn subtree(permit: &Permit) -> GeneralSubtree {
    match permit {
        Permit::Dns(suffix) => GeneralSubtree::DnsName(suffix.clone()),
        Permit::Net(net) => {
            GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(net.addr(), net.prefix_len()))
        }
    }
}

pub(super) fn refused(error: rcgen::Error) -> Fault {
    Fault::task(format!("the certificate cannot be made: {error}"))
}

/// RFC 5280 asks for a positive number; a set second bit keeps every one at the same length.
fn positive(mut serial: [u8; SERIAL_LEN]) -> SerialNumber {
    serial[0] = serial[0] & 0x7f | 0x40;
    SerialNumber::from_slice(&serial)
}

fn in_ca(which: &str, fault: Fault) -> Fault {
    Fault { message: format!("CA {which}: {}", fault.message), ..fault }
        .hint("restore it from a backup; a CA that is there is never overwritten")
}
