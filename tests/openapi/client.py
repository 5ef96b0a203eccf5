"""Uses the generated client of the folder ARGV[1] as its user would: the server of ARGV[2], the certificates of ARGV[3:6] (CA, chain, key)."""

import ssl
import sys

folder, server, ca, chain, key = sys.argv[1:]
sys.path.insert(0, folder)

from headcount_client.client import Client
from headcount_client.api.read import get_containers, get_replicas, list_deployments
from headcount_client.api.server import get_health, who_am_i
from headcount_client.api.write import set_image, set_replicas
from headcount_client.models import Error, Message, Replicas, ReplicasWritten, SetImage, SetReplicas

context = ssl.create_default_context(cafile=ca)
context.minimum_version = ssl.TLSVersion.TLSv1_3
context.load_cert_chain(chain, key)
client = Client(base_url=server, verify_ssl=context, timeout=10, raise_on_unexpected_status=True)


def same(found, expected):
    assert found == expected, f"{found!r} is not {expected!r}"


same(get_health.sync(client=client).status, "healthy")
same(who_am_i.sync(client=client).principal, "alice")

shop = dict(namespace="web", name="shop")
before = get_replicas.sync(**shop, client=client)
same(before, Replicas(**shop, replica_count=2))
same(Replicas(**shop, replica_count=2) in list_deployments.sync(client=client), True)

# Written, and read back.
done = set_replicas.sync(**shop, client=client, body=SetReplicas(replica_count=5))
same(done, Message(message="Replica count updated successfully."))
same(get_replicas.sync(**shop, client=client).replica_count, 5)

# What was done, for those who ask; a dry run changes nothing.
done = set_replicas.sync(
    **shop, client=client, body=SetReplicas(replica_count=7), prefer="return=representation", dry_run=True
)
assert isinstance(done, ReplicasWritten), done
same((done.replica_count, done.previous_replica_count, done.changed), (7, 5, True))
same(get_replicas.sync(**shop, client=client).replica_count, 5)

# A precondition that doesn't hold, and a Deployment that isn't there, are errors with a type.
read = get_replicas.sync_detailed(**shop, client=client)
same(get_replicas.sync_detailed(**shop, client=client, if_none_match=read.headers["etag"]).status_code, 304)
stale = set_replicas.sync_detailed(**shop, client=client, body=SetReplicas(replica_count=1), if_match='"old"')
same((stale.status_code, type(stale.parsed)), (412, Error))
missing = get_replicas.sync_detailed(namespace="web", name="nothing", client=client)
same((missing.status_code, type(missing.parsed)), (404, Error))
assert "no Deployment" in missing.parsed.error, missing.parsed

set_image.sync(**shop, container="main", client=client, body=SetImage(image="example.org/shop:9"))
same(get_containers.sync(**shop, client=client).containers[0].image, "example.org/shop:9")
print("all as documented")
