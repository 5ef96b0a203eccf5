//! A container's environment and words, as the kubelet puts them together.

use std::{collections::BTreeMap, net::Ipv4Addr};

use k8s_openapi::api::core::v1::{Container, EnvVar, Pod, Service};

/// What every image of a base without anything in it has.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// All variables, by their names.
pub(super) type Environment = BTreeMap<String, String>;

/// A field of the Pod, as `fieldRef` names it.
pub(super) fn field(pod: &Pod, path: &str, address: Option<Ipv4Addr>) -> String {
    let (metadata, spec) = (&pod.metadata, pod.spec.as_ref().unwrap());
    let found = match path {
        "metadata.name" => metadata.name.clone(),
        "metadata.namespace" => metadata.namespace.clone(),
        "metadata.uid" => metadata.uid.clone(),
        "spec.nodeName" => spec.node_name.clone(),
        "spec.serviceAccountName" => spec.service_account_name.clone(),
        "status.podIP" => address.map(|address| address.to_string()),
        other => panic!("a field that tests don't know: {other}"),
    };
    found.unwrap()
}

/// What a container sees: the image's, the services' and its own, nothing of this process.
pub(super) fn environment(
    pod: &Pod,
    container: &Container,
    address: Ipv4Addr,
    services: &[Service],
) -> Environment {
    let name = pod.metadata.name.clone().unwrap();
    let given = [("PATH", PATH), ("HOME", "/"), ("HOSTNAME", &name)];
    let mut environment: Environment = given
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    let links = pod.spec.as_ref().unwrap().enable_service_links != Some(false);
    for service in services {
        let metadata = &service.metadata;
        let kubernetes = metadata.name.as_deref() == Some("kubernetes")
            && metadata.namespace.as_deref() == Some("default");
        if kubernetes || (links && metadata.namespace == pod.metadata.namespace) {
            environment.extend(of_service(service));
        }
    }
    assert!(container.env_from.is_none(), "tests don't know envFrom");
    for variable in container.env.iter().flatten() {
        let value = value(pod, variable, address, &environment);
        environment.insert(variable.name.clone(), value);
    }
    environment
}

fn value(pod: &Pod, variable: &EnvVar, address: Ipv4Addr, before: &Environment) -> String {
    match &variable.value_from {
        None => expanded(variable.value.as_deref().unwrap_or_default(), before),
        Some(source) => match &source.field_ref {
            Some(reference) => field(pod, &reference.field_path, Some(address)),
            None => panic!("a source that tests don't know: {source:?}"),
        },
    }
}

/// `$(NAME)` stands for a variable that is known, `$$` for a `$`.
pub(super) fn expanded(text: &str, environment: &Environment) -> String {
    let mut words = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        words.push_str(&rest[..at]);
        rest = &rest[at..];
        let name = rest
            .strip_prefix("$(")
            .and_then(|rest| rest.split_once(')'));
        let known =
            name.and_then(|(name, after)| environment.get(name).map(|value| (value, after)));
        rest = match known {
            Some((value, after)) => {
                words.push_str(value);
                after
            }
            None => {
                words.push('$');
                rest.strip_prefix("$$").unwrap_or(&rest[1..])
            }
        };
    }
    words + rest
}

/// The variables that tell of a Service with an address.
fn of_service(service: &Service) -> Environment {
    let spec = service.spec.as_ref().unwrap();
    let prefix = service
        .metadata
        .name
        .as_ref()
        .unwrap()
        .to_uppercase()
        .replace('-', "_");
    let Some(ip) = spec.cluster_ip.as_ref().filter(|ip| *ip != "None") else {
        return Environment::new();
    };
    let mut variables = Environment::new();
    let mut set =
        |name: &str, value: String| drop(variables.insert(format!("{prefix}_{name}"), value));
    set("SERVICE_HOST", ip.clone());
    for (number, port) in spec.ports.iter().flatten().enumerate() {
        let protocol = port.protocol.as_deref().unwrap_or("TCP");
        let url = format!("{}://{ip}:{}", protocol.to_lowercase(), port.port);
        if number == 0 {
            set("SERVICE_PORT", port.port.to_string());
            set("PORT", url.clone());
        }
        if let Some(name) = &port.name {
            let name = name.to_uppercase().replace('-', "_");
            set(&format!("SERVICE_PORT_{name}"), port.port.to_string());
        }
        let of_port = format!("PORT_{}_{protocol}", port.port);
        set(&of_port, url);
        set(&format!("{of_port}_PROTO"), protocol.to_lowercase());
        set(&format!("{of_port}_PORT"), port.port.to_string());
        set(&format!("{of_port}_ADDR"), ip.clone());
    }
    variables
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn references_to_variables_that_are_known_are_replaced() {
        let environment = Environment::from([("NAME".to_owned(), "shop".to_owned())]);
        for (text, expected) in [
            ("--as=$(NAME).svc", "--as=shop.svc"),
            ("$(OTHER) $$(NAME) $5 $", "$(OTHER) $(NAME) $5 $"),
        ] {
            assert_eq!(expanded(text, &environment), expected);
        }
    }

    #[test]
    fn service_links_are_what_they_are_in_a_pod() {
        let service = json!({
            "metadata": {"name": "head-count", "namespace": "web"},
            "spec": {"clusterIP": "10.0.0.7", "ports": [{"name": "https", "port": 443, "protocol": "TCP"}]},
        });
        let links = of_service(&serde_json::from_value(service).unwrap());
        let expected = [
            ("HEAD_COUNT_PORT", "tcp://10.0.0.7:443"),
            ("HEAD_COUNT_PORT_443_TCP", "tcp://10.0.0.7:443"),
            ("HEAD_COUNT_PORT_443_TCP_ADDR", "10.0.0.7"),
            ("HEAD_COUNT_PORT_443_TCP_PORT", "443"),
            ("HEAD_COUNT_PORT_443_TCP_PROTO", "tcp"),
            ("HEAD_COUNT_SERVICE_HOST", "10.0.0.7"),
            ("HEAD_COUNT_SERVICE_PORT", "443"),
            ("HEAD_COUNT_SERVICE_PORT_HTTPS", "443"),
        ];
        let links: Vec<_> = links
            .iter()
            .map(|(name, value)| (&**name, &**value))
            .collect();
        assert_eq!(links, expected);
    }
}
