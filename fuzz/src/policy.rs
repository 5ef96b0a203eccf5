//! Any text as `authorization`, as `identity` and as a deny list; a policy that is read decides without a panic.

use headcount::{
    access::{Authorization, AuthorizationFile, IdentityRules, Verb},
    tls::deny_list::DenyList,
};

pub(crate) fn run(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else {
        return;
    };
    let _ = DenyList::parse(text);
    let _ = serde_saphyr::from_str::<IdentityRules>(text).map(|rules| rules.check());
    let Ok(file) = serde_saphyr::from_str::<AuthorizationFile>(text) else {
        return;
    };
    match file.read() {
        Ok(Authorization::Policy(policy)) => {
            let permissions = policy.permissions("alice", &["oncall".to_owned()]);
            for verb in Verb::ALL {
                let allowed = permissions.decide(verb, "web", "shop", None).is_allowed();
                // What is said of all holds for each.
                match permissions.sees_namespace(verb, "web") {
                    Some(all) => assert_eq!(all, allowed),
                    None => assert!(!permissions.sees_everything(verb)),
                }
                assert!(!allowed || permissions.may_ever(verb));
            }
        }
        Ok(_) => {}
        Err(error) => assert!(!error.to_string().contains('\n')),
    }
}
