# shellcheck disable=SC2154 shell=bash
# What is refused of a request, and what is not. Sourced by functional.sh, whose variables it uses.

# --- names ---------------------------------------------------------------------------------------------------------------

scenario_percent_encoded_names_are_the_same_names() {
	local encoded_namespace encoded_name
	encoded_namespace=$(printf '%%%02X' "'$namespace")${namespace:1}
	encoded_name=$(printf '%%%02x' "'$deployment")${deployment:1}
	get "/namespaces/$encoded_namespace/deployments/$encoded_name/replicas"
	expect_status 200
	grep -Fq "{\"namespace\":\"$namespace\",\"name\":\"$deployment\"," "$work/body" || fail "saw $(body)"
}

scenario_names_that_kubernetes_would_not_accept_are_400() {
	local long name bad
	long=$(printf '%064d' 1)
	for bad in '..' '.' '%2e%2e' '%2E' 'a%2Fb' '%2F' 'a%00' '%00' '' 'Default' 'a_b' '-a' 'a-' 'a.b' 'a%20b' '%zz' '%' '%2' \
		'%ff' '%C3%BC' 'a;b' "$long"; do
		get "/namespaces/$bad/deployments/$deployment/replicas"
		expect_error 400 "namespace '$bad'"
	done
	long=$(printf '%0254d' 1)
	for name in '..' '.' '%2e%2e' 'a%2Fb' '%2f' 'web%00' '' 'Web' 'a_b' '-a' 'a-' '.a' 'a.' 'a..b' 'a.-b' 'a%20b' '%zz' '%ff' "$long"; do
		get "/namespaces/$namespace/deployments/$name/replicas"
		expect_error 400 "name '$name'"
		put "/namespaces/$namespace/deployments/$name/replicas" '{"replicaCount":1}'
		expect_error 400 "PUT, name '$name'"
	done
}

scenario_names_at_the_limits_are_looked_up() {
	local name
	for name in "$(printf '%0253d' 1)" a.b.c 0 a--b; do
		get "/namespaces/$namespace/deployments/$name/replicas"
		expect_error 404 "name '$name'"
	done
	get "/namespaces/$(printf '%063d' 1)/deployments/$deployment/replicas"
	expect_error 404
}

# --- paths, methods, sizes, media types ----------------------------------------------------------------------------------

scenario_a_path_that_does_not_exist_is_404() {
	local path
	for path in /api /api/v1 /api/v1/ /api/v1/deployment /api/v1/deployments/ /api/v1/healthz /api/v2/deployments \
		"/api/v1$replicas/" "/api/v1${replicas%s}" /api/v1/namespaces /API/v1/deployments //api/v1/deployments /metrics \
		/livez /readyz; do
		get "$address$path"
		expect_error 404 "path $path"
	done
	as_client --request POST /no-such-path
	expect_error 404 "POST"
}

scenario_a_deployment_that_does_not_exist_is_404() {
	local path
	for path in "/namespaces/$namespace/deployments/no-such-deployment/replicas" \
		"/namespaces/no-such-namespace/deployments/$deployment/replicas"; do
		get "$path"
		expect_error 404 "GET"
		put "$path" '{"replicaCount":1}'
		expect_error 404 "PUT"
	done
}

scenario_another_method_is_405_with_allow() {
	local method
	for method in POST DELETE OPTIONS; do
		as_client --request "$method" "$replicas"
		expect_error 405 "$method"
		expect_header_like Allow 'GET'
		expect_header_like Allow 'HEAD'
		expect_header_like Allow 'PUT'
	done
	for method in PUT POST DELETE; do
		as_client --request "$method" /deployments
		expect_error 405 "$method"
		expect_header_like Allow 'GET'
		as_client --request "$method" /health
		expect_error 405 "$method"
		[[ $(header Allow) != *PUT* ]] || fail "Allow names PUT for /health"
	done
}

scenario_a_body_over_64_KiB_is_413() {
	printf '{"replicaCount":2}%*s' 65519 '' >"$work/large"
	put "$replicas" "@$work/large"
	expect_error 413 "with its length"
	put "$replicas" "@$work/large" --http1.1 --header 'Transfer-Encoding: chunked'
	expect_error 413 "in chunks"
}

scenario_an_answer_is_not_lost_to_a_large_body() {
	local method
	head -c 20000000 /dev/zero >"$work/large"
	for method in PUT GET DELETE; do
		as_client --request "$method" --header 'Content-Type: application/json' --data-binary "@$work/large" "$replicas"
		expect_error "$([[ $method == DELETE ]] && echo 405 || echo 413)" "$method with 20 MB"
	done
	rm "$work/large"
}

scenario_a_body_of_64_KiB_is_read() {
	printf '{"replicaCount":2}%*s' 65518 '' >"$work/large"
	put "$replicas" "@$work/large"
	expect_status 200
	expect_count 2
}

scenario_an_address_over_8_KiB_is_414() {
	local long
	long=$(printf '%09000d' 1)
	get "/deployments?$long"
	expect_error 414
	get "/deployments?$long" --http1.1
	expect_error 414
}

scenario_headers_over_32_KiB_are_431() {
	local long
	long=$(printf '%033000d' 1)
	get /deployments --header "X-Padding: $long"
	expect_error 431
	get /deployments --http1.1 --header "X-Padding: $long"
	expect_error 431
}

scenario_a_body_that_is_not_json_is_415() {
	local type
	for type in text/plain application/jsonx application/x-www-form-urlencoded json ''; do
		as_client --request PUT --header "Content-Type: $type" --data-binary '{"replicaCount":1}' "$replicas"
		expect_error 415 "Content-Type '$type'"
	done
	as_client --request PUT --header 'Content-Type: text/plain' --data-binary '{' "/namespaces/A/deployments/B/replicas"
	expect_error 415 "it is judged before names and bodies"
}

scenario_json_with_parameters_is_read() {
	local type
	for type in 'application/json; charset=utf-8' 'Application/JSON' 'application/json;charset="utf-8"'; do
		as_client --request PUT --header "Content-Type: $type" --data-binary '{"replicaCount":2}' "$replicas"
		expect_status 200 "Content-Type '$type'"
	done
}

# --- bodies --------------------------------------------------------------------------------------------------------------

scenario_a_body_that_is_not_one_whole_count_is_400() {
	local bad deep
	deep=$(printf '%030000d' 0)
	local bodies=('' '{}' 'null' '[]' '3' '"3"' '{' '{"replicaCount"}' '{"replicaCount":}' '{"replicaCount":null}'
		'{"replicaCount":"3"}' '{"replicaCount":3.0}' '{"replicaCount":1.5}' '{"replicaCount":1e1}' '{"replicaCount":1E0}'
		'{"replicaCount":-1}' '{"replicaCount":2147483648}' '{"replicaCount":99999999999999999999999}' '{"replicaCount":03}'
		'{"replicaCount":+3}' '{"replicaCount":0x3}' '{"replicaCount":true}' '{"replicaCount":[3]}' '{"replicaCount":{}}'
		'{"replicaCount":3,"replicaCount":3}' '{"replicaCount":3,"other":1}' '{"replicacount":3}' '{"replicas":3}'
		'{"replicaCount":3} x' '{"replicaCount":3}{"replicaCount":3}' '[{"replicaCount":3}]' "{'replicaCount':3}"
		'{"replicaCount":3,}' '{replicaCount:3}' '{"replicaCount":NaN}' $'{"replicaCount":3}\xff' $'\xef\xbb\xbf{"replicaCount":3}'
		"${deep//0/[}" "{\"replicaCount\":${deep//0/[}")
	set_count 2
	for bad in "${bodies[@]}"; do
		put "$replicas" "$bad"
		expect_error 400 "body ${bad:0:60}"
	done
	put "/namespaces/$namespace/deployments/no-such-deployment/replicas" '{}'
	expect_error 400 "it is judged before the Deployment is looked up"
	expect_count 2
}

scenario_white_space_in_a_body_is_fine() {
	put "$replicas" $' {\r\n\t"replicaCount" : 3 }\n'
	expect_status 200
	expect_count 3
}

scenario_a_count_above_the_bound_is_422_and_changes_nothing() {
	set_count 2
	local count
	for count in $((max_replicas + 1)) 2147483647; do
		((count > max_replicas)) || continue
		put "$replicas" "{\"replicaCount\":$count}"
		expect_error 422 "count $count"
		[[ $(body) == *$count*$max_replicas* || $(body) == *$max_replicas*$count* ]] || fail "expected count and bound in $(body)"
	done
	put "/namespaces/$namespace/deployments/no-such-deployment/replicas" "{\"replicaCount\":$((max_replicas + 1))}"
	expect_error 404 "the Deployment is looked up first"
	expect_count 2
}
