# shellcheck disable=SC2154 shell=bash
# What callers may rely on. Sourced by functional.sh, whose variables it uses.

# --- the four calls ------------------------------------------------------------------------------------------------------

scenario_health_says_healthy_and_connected() {
	get /health
	expect_status 200
	expect_body '{"status":"healthy","kubernetes":"connected"}'
	expect_header Content-Type application/json
}

scenario_the_count_is_read_exactly() {
	get "$replicas"
	local count
	count=$(sed -n 's/.*"replicaCount":\([0-9]*\)}$/\1/p' "$work/body")
	expect_status 200
	expect_body "{\"namespace\":\"$namespace\",\"name\":\"$deployment\",\"replicaCount\":$count}"
	expect_header Content-Type application/json
	expect_header_like X-Resource-Version '^[0-9]+$'
	expect_header_like ETag '^"[^"]+"$'
}

scenario_a_write_answers_exactly_and_is_read_at_once() {
	local count
	for count in 2 3 1 2; do
		set_count "$count"
		expect_header Content-Type application/json
		expect_count "$count"
	done
}

scenario_a_write_to_zero_is_read_as_zero() {
	set_count 0
	expect_count 0
	set_count 1
	expect_count 1
}

scenario_writes_at_the_same_time_all_succeed_or_conflict() {
	local n pids=() count
	for n in 1 2 3; do
		client_curl --request PUT --header 'Content-Type: application/json' --data-binary "{\"replicaCount\":$n}" \
			--output /dev/null --write-out '%{http_code}' "$address/api/v1$replicas" >"$work/writer$n" &
		pids+=($!)
	done
	wait "${pids[@]}"
	for n in 1 2 3; do
		count=$(<"$work/writer$n")
		[[ $count == 200 || $count == 409 ]] || fail "expected status 200 or 409 from writer $n, saw $count"
	done
	get "$replicas"
	grep -Eq '"replicaCount":[123]}$' "$work/body" || fail "expected one of the counts written, saw $(body)"
}

scenario_the_list_holds_objects_of_the_exact_form() {
	get /deployments
	expect_status 200
	expect_header Content-Type application/json
	expect_header_like X-Resource-Version '^[0-9]+$'
	expect_header_like ETag '^W/"[^"]+"$'
	local object='\{"namespace":"[a-z0-9-]+","name":"[a-z0-9.-]+","replicaCount":[0-9]+\}'
	grep -Eqx "\[($object(,$object)*)?\]" "$work/body" || fail "not a list of such objects: $(body)"
	grep -Fq "{\"namespace\":\"$namespace\",\"name\":\"$deployment\",\"replicaCount\":" "$work/body" || fail "the list lacks $namespace/$deployment"
	[[ $(tail -c 1 "$work/body") == ']' ]] || fail "something follows the list"
}

scenario_the_list_is_sorted_by_namespace_then_name() {
	get /deployments
	grep -Eo '"namespace":"[^"]*","name":"[^"]*"' "$work/body" | cut -d '"' -f 4,8 | sort -c -t '"' -k 1,1 -k 2,2 2>/dev/null ||
		fail "the list is not sorted"
}

scenario_a_write_shows_in_the_list_at_once() {
	local count
	for count in 3 2; do
		set_count "$count"
		get /deployments
		grep -Fq "{\"namespace\":\"$namespace\",\"name\":\"$deployment\",\"replicaCount\":$count}" "$work/body" ||
			fail "expected $count replicas in the list"
	done
}

scenario_the_compressed_list_equals_the_plain_one() {
	# Other Deployments may change in between: only lists with the same tag must be equal.
	local tries tag
	for ((tries = 0; tries < 20; tries++)); do
		get /deployments
		tag=$(header ETag)
		cp "$work/body" "$work/plain"
		get /deployments --compressed --header 'Accept-Encoding: gzip'
		expect_status 200
		[[ $(header ETag) == "$tag" ]] || continue
		cmp -s "$work/plain" "$work/body" || fail "the decoded list differs from the plain one"
		if (($(wc -c <"$work/plain") > 1024)); then
			expect_header Content-Encoding gzip
		fi
		return
	done
	fail "the list's tag never stayed the same for two requests"
}

scenario_gzip_is_not_used_where_it_is_refused() {
	get /deployments --header 'Accept-Encoding: gzip;q=0'
	expect_status 200
	expect_header Content-Encoding ''
}

scenario_head_answers_like_get() {
	local path tag
	for path in "$replicas" /deployments /health; do
		get "$path" --head
		expect_status 200 "HEAD $path"
		expect_header Content-Type application/json
	done
	get "$replicas"
	tag=$(header ETag)
	get "$replicas" --head
	expect_header ETag "$tag"
	get /namespaces/no-such-namespace/deployments/no-such-deployment/replicas --head
	expect_status 404
}

scenario_head_sends_no_body() {
	# A body after HEAD would be taken for the start of the next answer on the same connection.
	local seen
	seen=$(client_curl --http1.1 --head --output /dev/null --write-out '%{http_code} ' "$address/api/v1/deployments" \
		--next --disable --silent --noproxy '*' --globoff --cacert "$certs/ca.crt" --cert "$certs/client.crt" \
		--key "$certs/client.key" --http1.1 --output "$work/body" --write-out '%{http_code} %{num_connects}' "$address/api/v1/health")
	[[ $seen == "200 200 0" ]] || fail "expected two answers on one connection (200 200 0), saw $seen"
	expect_body '{"status":"healthy","kubernetes":"connected"}'
}

# --- containers and images -----------------------------------------------------------------------------------------------

scenario_containers_are_read_with_their_images() {
	get "${replicas%/replicas}/containers"
	expect_status 200
	expect_header Content-Type application/json
	expect_header_like X-Resource-Version '^[0-9]+$'
	expect_header_like ETag '^"[^"]+"$'
	local whole="^\\{\"namespace\":\"$namespace\",\"name\":\"$deployment\",\"containers\":\\[\\{\"name\":\"[^\"]+\",\"image\":\"[^\"]*\"\\}"
	grep -Eq "$whole" "$work/body" || fail "expected a list of containers, saw $(body)"
	get "${replicas%/replicas}/containers" --header "If-None-Match: $(header ETag)"
	expect_status 304
}

scenario_an_image_is_set_by_those_who_may_and_only_to_a_reference() {
	put "${replicas%/replicas}/containers/none/image" '{"image":"no reference"}'
	[[ $status == 400 || $status == 403 ]] || fail "expected status 400, or 403 without the permission, saw $status"
}

# --- request ids and versions --------------------------------------------------------------------------------------------

scenario_a_sane_request_id_is_echoed() {
	local id long
	long=$(printf '%0128d' 7)
	for id in abc-DEF_1.2 x "$long"; do
		get /health --header "X-Request-Id: $id"
		expect_header X-Request-Id "$id"
		get /no-such-path --header "X-Request-Id: $id"
		expect_header X-Request-Id "$id"
	done
}

scenario_a_missing_request_id_is_made_anew_each_time() {
	get /health
	expect_header_like X-Request-Id '^[A-Za-z0-9._-]{1,128}$'
	local first
	first=$(header X-Request-Id)
	get /health
	[[ $(header X-Request-Id) != "$first" ]] || fail "two requests have the same id $first"
}

scenario_a_request_id_too_long_or_with_odd_characters_is_replaced() {
	local id
	for id in "$(printf '%0129d' 7)" 'a b' 'a;b' 'a%0Ab' '"a"' '<a>' $'a\tb' $'\xc3\xbc' $'a\nforged: b'; do
		get /health --http1.1 --header "X-Request-Id: $id"
		expect_status 200 "id $id"
		expect_header_like X-Request-Id '^[A-Za-z0-9._-]{1,128}$'
		expect_header forged ''
		[[ $id == *$'\n'* || $(header X-Request-Id) != "$id" ]] || fail "the id '$id' came back"
	done
}

scenario_versions_grow_with_each_write() {
	local count before after
	set_count 1
	before=$(header X-Resource-Version)
	for count in 2 3; do
		set_count "$count"
		after=$(header X-Resource-Version)
		[[ $before =~ ^[0-9]+$ && $after =~ ^[0-9]+$ ]] || fail "expected versions, saw '$before' and '$after'"
		((after > before)) || fail "expected a version above $before, saw $after"
		before=$after
	done
	get "$replicas"
	[[ $(header X-Resource-Version) -ge $after ]] || fail "the read is older than the write: $(header X-Resource-Version) < $after"
	get /deployments
	[[ $(header X-Resource-Version) -ge $after ]] || fail "the list is older than the write: $(header X-Resource-Version) < $after"
}

scenario_a_read_waits_for_a_version_that_is_there() {
	set_count 2
	local version
	version=$(header X-Resource-Version)
	get "$replicas" --header "X-Min-Resource-Version: $version"
	expect_status 200
	get /deployments --header "X-Min-Resource-Version: $version"
	expect_status 200
}

scenario_a_read_of_a_version_that_never_comes_is_503() {
	get "$replicas" --header 'X-Min-Resource-Version: 9223372036854775807'
	expect_error 503
	expect_header_like Retry-After '^[0-9]+$'
}

# --- preconditions, preferences, dry run ---------------------------------------------------------------------------------

scenario_an_unchanged_count_is_304() {
	set_count 2
	get "$replicas"
	local tag condition
	tag=$(header ETag)
	for condition in "$tag" "\"other\", $tag" '*'; do
		get "$replicas" --header "If-None-Match: $condition"
		expect_status 304 "If-None-Match: $condition"
		expect_body ''
		expect_header ETag "$tag"
	done
	set_count 3
	get "$replicas" --header "If-None-Match: $tag"
	expect_status 200
}

scenario_an_unchanged_list_is_304() {
	local tries tag
	for ((tries = 0; tries < 20; tries++)); do
		get /deployments
		tag=$(header ETag)
		get /deployments --header "If-None-Match: $tag"
		[[ $status == 200 && $(header ETag) != "$tag" ]] && continue # another Deployment changed in between
		expect_status 304
		expect_body ''
		return
	done
	fail "the list's tag never stayed the same for two requests"
}

scenario_a_write_with_the_current_tag_is_done() {
	set_count 1
	get "$replicas"
	put "$replicas" '{"replicaCount":2}' --header "If-Match: $(header ETag)"
	expect_status 200
	put "$replicas" '{"replicaCount":3}' --header 'If-Match: *'
	expect_status 200
	expect_count 3
}

scenario_a_write_with_an_old_tag_is_412_and_changes_nothing() {
	set_count 1
	get "$replicas"
	local old condition
	old=$(header ETag)
	set_count 2
	for condition in "$old" '"no-such-tag"' "W/$old"; do
		put "$replicas" '{"replicaCount":3}' --header "If-Match: $condition"
		expect_error 412 "If-Match: $condition"
	done
	expect_count 2
}

scenario_the_representation_of_a_write_says_what_changed() {
	set_count 1
	put "$replicas" '{"replicaCount":3}' --header 'Prefer: return=representation'
	expect_status 200
	expect_representation 3 1 true
	put "$replicas" '{"replicaCount":3}' --header 'Prefer: return=representation'
	expect_status 200
	expect_representation 3 3 false
}

expect_representation() {
	expect_body "{\"namespace\":\"$namespace\",\"name\":\"$deployment\",\"replicaCount\":$1,\"previousReplicaCount\":$2,\"changed\":$3,\"resourceVersion\":\"$(header X-Resource-Version)\"}"
}

scenario_a_dry_run_changes_nothing() {
	set_count 2
	put "$replicas?dryRun=true" '{"replicaCount":3}'
	expect_status 200
	expect_count 2
	put "$replicas?dryRun=true" "{\"replicaCount\":$((max_replicas + 1))}"
	expect_error 422
}
