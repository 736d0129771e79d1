//! What lies on a host and hangs on a CA that is not known here: replacing it would take the ground from under whoever
//! trusts that CA.

use super::inspect::CertInfo;
use time::OffsetDateTime;

/// What of a host's certificates hangs on another CA than `known`, in words; `None` when nothing does.
///
/// A certificate whose life is over counts for nobody any more, and one that cannot be read never did.
pub fn foreign(
    known: &[CertInfo],
    leaf: Option<&str>,
    trusted: Option<&str>,
    now: OffsetDateTime,
) -> Option<String> {
    let lives = |cert: &CertInfo| now < cert.not_after;
    let leaf = leaf.and_then(|pem| CertInfo::first(pem).ok()).filter(lives);
    if let Some(leaf) = leaf.filter(|leaf| known.iter().all(|ca| leaf.issued_by(ca).is_err())) {
        let same = known.iter().any(|ca| ca.subject == leaf.issuer);
        let of = if same { ", another one than the CA of that name here" } else { "" };
        return Some(format!("its certificate is from `{}`{of}", leaf.issuer));
    }
    let trusted = trusted.and_then(|pem| CertInfo::all(pem).ok()).unwrap_or_default();
    let strange = trusted.into_iter().filter(lives).find(|ca| known.iter().all(|one| one.spki != ca.spki));
    strange.map(|ca| format!("it trusts `{}` ({:.16})", ca.subject, ca.fingerprint))
}

#[cfg(test)]
mod tests {
    use super::super::{Ca, CaPolicy, KeyKind, LeafPolicy, generate_key};
    use super::*;

    #[test]
    fn what_hangs_on_another_ca_is_named_until_it_is_over() {
        let at = OffsetDateTime::from_unix_timestamp(1_795_423_117).unwrap();
        let make = |name: &str| {
            let key = generate_key(KeyKind::EcdsaP256).unwrap();
            let ca = Ca::create(&CaPolicy::new(name).unwrap(), &key, [7; 16], at).unwrap();
            let leaf = ca.issue(&LeafPolicy::server(["pg"]).unwrap(), &key, [9; 16], at).unwrap();
            (ca.info().clone(), leaf)
        };
        let (ours, own) = make("main CA");
        let (other, strange) = make("other CA");
        let (twin, twins) = make("main CA");
        let known = std::slice::from_ref(&ours);
        let told = |known: &[CertInfo], leaf: Option<&str>, trusted: Option<&str>| {
            foreign(known, leaf, trusted, at).unwrap_or_default()
        };
        assert_eq!(told(known, Some(&own), Some(&ours.to_pem())), "");
        assert_eq!(told(known, None, None), "");
        assert_eq!(told(known, Some("no certificate"), Some("nor here")), "");
        assert_eq!(told(known, Some(&strange), None), "its certificate is from `CN=other CA`");
        assert_eq!(told(&[], Some(&own), None), "its certificate is from `CN=main CA`");
        assert_eq!(
            told(known, Some(&twins), None),
            "its certificate is from `CN=main CA`, another one than the CA of that name here"
        );
        // While one CA takes the place of the other both are known.
        assert_eq!(told(&[ours.clone(), other.clone()], Some(&strange), None), "");
        let both = format!("{}{}", ours.to_pem(), twin.to_pem());
        assert!(told(known, Some(&own), Some(&both)).starts_with("it trusts `CN=main CA` ("));
        let later = at + time::Duration::days(366);
        assert_eq!(foreign(known, Some(&strange), None, later), None);
        assert_eq!(foreign(known, None, Some(&other.to_pem()), at + time::Duration::days(3651)), None);
    }
}
