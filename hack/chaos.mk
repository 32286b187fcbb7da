# Fault injection: kills, a failing API server, random lives, load. These targets take minutes.
#
#   CAPK_CHAOS_SEED=1234      repeats the run that printed it; lives in virtual time start with that seed
#   SECONDS_OF_LIVES=3600     real seconds of lives in virtual time
#   CAPK_CHAOS_KILLS=200      kills at random moments; if set, each write of a life is tried at all its moments
#   CAPK_CHAOS_LIVES=60       random sequences of 17 steps
#   CAPK_CHAOS_OBJECTS=3000   random objects, judged by admission and the real kind
#   CAPK_CHAOS_LOAD=2000      objects of the load test
#   CAPK_CHAOS_ROUNDS=50      lives of real kind clusters

##@ Break things on purpose

.PHONY: test-chaos
test-chaos: venv tools-test ## Inject faults: kills, failing requests, random lives (100 minutes); tests in TESTS
	CAPK_CASES=thorough timeout 5400 pytest -q $(or $(TESTS),test/unit test/provider test/chaos)
	python -m test.simulation --seconds $(or $(SECONDS_OF_LIVES),3600) --seed $${CAPK_CHAOS_SEED:-$$RANDOM}

.PHONY: simulation
simulation: venv ## Run the provider in virtual time with every fault, by seed; options in ARGS
	python -m test.simulation $(ARGS)

.PHONY: mutations
mutations: venv tools-test ## Remove the code of each guarantee in turn and check that a test fails (20 minutes); some of them in WORDS
	python -m hack.mutations $(WORDS)

.PHONY: audit
audit: venv ## Look for known vulnerabilities in the locked dependencies (asks osv.dev)
	uv tool run pip-audit@2.10.1 --strict --disable-pip --vulnerability-service osv --require-hashes -r requirements/run.txt
	uv tool run pip-audit@2.10.1 --strict --disable-pip --vulnerability-service osv --require-hashes -r requirements/dev.txt
