//! Any set of names that can be asked for, and any text at all.

use crate::support::*;
use ishprov::pki::{self, Ca, CertInfo, LeafPolicy, San, Usage, Verdict};
use proptest::prelude::*;
use std::sync::OnceLock;
use time::Duration;

fn dns_name() -> impl Strategy<Value = String> {
    let label = || prop_oneof![4 => "[a-z0-9]([a-z0-9_-]{0,20}[a-z0-9])?", 1 => "xn--[a-z0-9]{1,20}", 1 => "[a-z]{63}"];
    let plain = (proptest::collection::vec(label(), 0..3), "[a-z][a-z0-9]{0,10}")
        .prop_map(|(labels, last)| labels.into_iter().chain([last]).collect::<Vec<_>>().join("."));
    prop_oneof![4 => plain.clone(), 1 => plain.prop_map(|name| format!("*.{name}.example"))]
}

fn any_name() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => dns_name(),
        1 => any::<[u8; 4]>().prop_map(|ip| std::net::Ipv4Addr::from(ip).to_string()),
        1 => any::<[u8; 16]>().prop_map(|ip| std::net::Ipv6Addr::from(ip).to_string()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_set_of_names_verifies_by_each_of_them(
        names in proptest::collection::vec(any_name(), 1..6),
        serial in any::<[u8; 16]>(),
        seconds in 0i64..365 * 86_400,
    ) {
        let ca = cached_ca();
        // None of the names may fit the 64 characters of a common name: then it is refused, and says so.
        let policy = match LeafPolicy::server(&names) {
            Ok(policy) => policy,
            Err(fault) => {
                prop_assert!(names.iter().all(|name| name.len() > 64), "{:?}", fault);
                return Ok(());
            }
        };
        prop_assert!(policy.common_name.len() <= 64);
        let pem = ca.issue(&policy, key(), serial, NOW).unwrap();
        webpki_accepts(&ca.cert_pem(), &pem, Usage::Server, NOW + Duration::seconds(seconds)).unwrap();
        for name in &names {
            let asked = name.replace('*', "any");
            prop_assert!(webpki_names(&pem, &asked).is_ok(), "{}: {:?}", asked, webpki_names(&pem, &asked));
        }
        prop_assert!(webpki_names(&pem, "nobody.invalid").is_err());
        let verdict = pki::needs(Some(&pem), &policy, &ca.cert_pem(), NOW).unwrap();
        prop_assert_eq!(verdict, Verdict::Keep { days_left: 365 });
    }

    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,120}", cut in 0usize..800, flip in 0usize..800) {
        let ca = cached_ca();
        let _ = text.parse::<San>();
        let _ = LeafPolicy::client(&text);
        let mut pem = ca.cert_pem().into_bytes();
        let at = flip % pem.len();
        pem[at] ^= 1;
        let pem = String::from_utf8(pem).unwrap();
        for pem in [text.as_str(), &pem, &pem[..cut.min(pem.len())]] {
            let _ = CertInfo::all(pem);
            let _ = Ca::load(pem, key());
            let _ = pki::key_kind(pem);
        }
    }
}

fn cached_ca() -> &'static Ca {
    static CA: OnceLock<Ca> = OnceLock::new();
    CA.get_or_init(main_ca)
}
