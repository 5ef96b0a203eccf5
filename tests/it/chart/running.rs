//! The chart's Pods, run as they say, in a network of the test's own.

use std::{collections::BTreeSet, fs, os::unix::fs::MetadataExt as _, sync::Arc, time::Duration};

use controlplane::{Seed, SeedReplicas};

use super::{
    account::Account,
    cluster::HEADCOUNT,
    first_request, offered,
    offered::Target,
    world::{World, in_a_world},
};
use crate::{
    docs::rights::{Rights, documented, documented_leases},
    node::RenderedPod,
    support::{Callers, eventually},
};

const SEED: Seed = Seed {
    deployments: 30,
    namespaces: 3,
    replicas: SeedReplicas::Spread,
};

/// One after another, on one release: each begins where the one before it has ended.
#[test]
fn the_pods_do_all_that_is_offered_with_the_documented_rights_and_upgrades_fail_no_request() {
    in_a_world(|world| async {
        let release = Release::of(world).await;
        release.with_the_defaults().await;
        release.is_upgraded_and_rolled_back_under_load().await;
        release
            .with_a_few_namespaces_and_everything_that_takes_a_right()
            .await;
        release.with_the_clusters_own_authorization().await;
        release.is_taken_away().await;
    });
}

/// headcount in its world, with Deployments of others.
struct Release {
    world: World,
    /// An account of headcount's namespace without any rights of its own.
    bare: Account,
    target: Target,
    /// In a namespace that isn't managed when a few are.
    elsewhere: Target,
}

impl Release {
    async fn of(world: World) -> Self {
        world.cluster.control_plane.seed(&SEED).await.unwrap();
        world
            .cluster
            .kubectl(&["--namespace", HEADCOUNT, "create", "serviceaccount", "bare"])
            .await;
        let target = |number| Target {
            namespace: SEED.namespace(number),
            name: SEED.name(number),
        };
        Self {
            bare: Account::new(&world.cluster, "bare").await,
            world,
            target: target(0),
            elsewhere: target(2),
        }
    }

    /// What the account may do beyond a bare one, in each of these namespaces.
    async fn has_these_rights(&self, expected: &Rights, namespaces: &[&str]) {
        let account = Account::new(&self.world.cluster, HEADCOUNT).await;
        for namespace in namespaces {
            let expected = match *namespace == HEADCOUNT {
                true => expected | &documented_leases(),
                false => expected.clone(),
            };
            // The authorizer learns of a change a moment after it was made.
            let same = async || account.more_than(&self.bare, namespace).await == expected;
            eventually(Duration::from_secs(30), "the documented rights", same).await;
            assert_eq!(account.secrets(namespace).await, 403, "{namespace}");
        }
    }

    async fn with_the_defaults(&self) {
        let notes = self.world.apply("").await;
        let pods = self.world.kubelet.pods();
        assert_eq!(pods.len(), 2);
        pods.iter().for_each(|pod| is_confined(pod));
        let namespaces = [HEADCOUNT, &self.target.namespace, "kube-system"];
        self.has_these_rights(&documented(&["autoscalers.enabled: true"]), &namespaces)
            .await;

        let listed = first_request::as_the_notes_say(&self.world.cluster, &notes).await;
        assert!(listed.as_array().unwrap().len() > 30, "{listed}");
        let tested = self
            .world
            .cluster
            .helm(&["test", HEADCOUNT, "--timeout=300s"])
            .await;
        assert!(tested.contains("Succeeded"), "{tested}");

        let client = self.world.client("admin").await;
        offered::reading_and_scaling(&self.world.cluster, &client, &self.target).await;
        let set = offered::setting_an_image(&client, &self.target, "example.org/shop:2").await;
        assert_eq!(set, 403);
        let service = offered::service(&self.world.cluster).await;
        offered::all_that_functional_tests_ask(&self.world.cluster, service, &self.target).await;
        self.world.kubelet.has_not_failed();
    }

    async fn is_upgraded_and_rolled_back_under_load(&self) {
        let client = self.world.client("admin").await;
        let callers = Callers::start(&client, &self.target.namespace, &self.target.name);
        let first = self.world.kubelet.pods();
        self.world
            .apply("podAnnotations: {example.org/changed: 'yes'}")
            .await;
        let second = self.world.kubelet.pods();
        self.world
            .cluster
            .helm(&["rollback", HEADCOUNT, "--wait", "--timeout=300s"])
            .await;
        self.world.has_settled().await;
        let third = self.world.kubelet.pods();
        let names = |pods: &[Arc<RenderedPod>]| {
            pods.iter()
                .map(|pod| pod.name.clone())
                .collect::<BTreeSet<_>>()
        };
        for (before, after) in [(&first, &second), (&second, &third)] {
            assert!(names(before).is_disjoint(&names(after)));
        }
        let connections = callers.have_not_failed().await;
        assert!(
            (14..).contains(&connections),
            "everybody had to move: {connections}"
        );
    }

    async fn with_a_few_namespaces_and_everything_that_takes_a_right(&self) {
        let managed = [&*self.target.namespace, &SEED.namespace(1)];
        let values = format!(
            "scope: {{mode: namespaced, namespaces: [{}]}}\nimages: {{enabled: true}}\nrollouts: {{enabled: true}}\nconfig: {{kubernetesEvents: true}}",
            managed.join(", ")
        );
        self.world.apply(&values).await;
        let all = documented(&[
            "autoscalers.enabled: true",
            "images.enabled: true",
            "rollouts.enabled: true",
            "config.kubernetesEvents: true",
        ]);
        self.has_these_rights(&all, &managed).await;
        let others = [
            &*self.elsewhere.namespace,
            HEADCOUNT,
            "default",
            "kube-system",
        ];
        self.has_these_rights(&Rights::new(), &others).await;

        let client = self.world.client("admin").await;
        offered::reading_and_scaling(&self.world.cluster, &client, &self.target).await;
        offered::telling_in_events(&self.world.cluster, &self.target).await;
        let set = offered::setting_an_image(&client, &self.target, "example.org/shop:2").await;
        assert_eq!(set, 200);
        offered::restarting_and_going_back(&client, &self.target).await;
        let count = client
            .count(&self.elsewhere.namespace, &self.elsewhere.name)
            .await;
        assert_eq!(count.unwrap_err(), 404);
    }

    async fn with_the_clusters_own_authorization(&self) {
        self.world
            .apply("config: {authorization: {mode: kubernetes}}")
            .await;
        let expected = documented(&[
            "autoscalers.enabled: true",
            "config.authorization.mode: kubernetes",
        ]);
        let namespaces = [HEADCOUNT, &self.target.namespace, &self.elsewhere.namespace];
        self.has_these_rights(&expected, &namespaces).await;

        let client = self.world.client("admin").await;
        let Target { namespace, name } = &self.target;
        assert_eq!(client.count(namespace, name).await.unwrap_err(), 403);
        self.world
            .cluster
            .kubectl(&[
                "create",
                "clusterrole",
                "scaler",
                "--verb=get,list,watch,update,patch",
                "--resource=deployments.apps,deployments.apps/scale",
            ])
            .await;
        self.world
            .cluster
            .kubectl(&[
                "create",
                "clusterrolebinding",
                "scaler",
                "--clusterrole=scaler",
                "--user=headcount:admin",
            ])
            .await;
        let allowed = async || client.count(namespace, name).await.is_ok();
        eventually(Duration::from_secs(60), "what the cluster allows", allowed).await;
        offered::reading_and_scaling(&self.world.cluster, &client, &self.target).await;
    }

    async fn is_taken_away(&self) {
        self.world.cluster.uninstall("helm4").await;
        self.world.has_so_many_pods(0).await;
        let account = Account::new(&self.world.cluster, "bare").await;
        let nothing = account.more_than(&self.bare, HEADCOUNT).await;
        assert_eq!(nothing, Rights::new());
    }
}

/// What the kernel says of a Pod's process.
fn is_confined(pod: &RenderedPod) {
    assert!(!pod.address.is_loopback() && pod.port("https").ip() == pod.address);
    let program = pod.program();
    let program = program.as_ref().unwrap();
    let status = program.status();
    for (field, value) in [
        ("Uid", "65532"),
        ("Gid", "65532"),
        ("Groups", "65532"),
        ("CapInh", "0000000000000000"),
        ("CapPrm", "0000000000000000"),
        ("CapEff", "0000000000000000"),
        ("CapBnd", "0000000000000000"),
        ("CapAmb", "0000000000000000"),
        ("NoNewPrivs", "1"),
    ] {
        let line = status.lines().find(|l| l.starts_with(field)).unwrap();
        assert!(line.contains(value), "{line}");
    }
    let process = format!("/proc/{}", program.id());
    let mounts = fs::read_to_string(format!("{process}/mountinfo")).unwrap();
    let mut mounts = mounts
        .lines()
        .map(|line| line.split(' ').collect::<Vec<_>>());
    assert!(mounts.any(|mount| mount[4] == "/" && mount[5].starts_with("ro,")));
    let variables = fs::read(format!("{process}/environ")).unwrap();
    let variables = String::from_utf8(variables).unwrap();
    let foreign: Vec<_> = variables
        .split_terminator('\0')
        .filter(|variable| {
            let own = ["PATH=", "HOME=/", "HOSTNAME=", "KUBERNETES_"];
            !own.iter().any(|name| variable.starts_with(name))
        })
        .collect();
    assert!(foreign.is_empty(), "{foreign:?}");
    let key = fs::metadata(format!("{process}/root/etc/headcount/server/tls.key")).unwrap();
    assert_eq!(
        (key.mode() & 0o777, key.uid(), key.gid()),
        (0o440, 0, 65532)
    );
    let warned = program
        .stderr()
        .into_iter()
        .filter(|line| line.contains("WARN"));
    assert_eq!(warned.collect::<Vec<_>>(), Vec::<String>::new());
}
