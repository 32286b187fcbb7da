# Breaking things on purpose: kills, trouble with the API server, random lives, load. Minutes, not seconds.
#
#   CAPK_CHAOS_SEED=1234   repeats the run that printed it
#   CAPK_CHAOS_KILLS=200   kills at random moments
#   CAPK_CHAOS_LIVES=60    random sequences of 17 steps
#   CAPK_CHAOS_LOAD=2000   objects of the load test

.PHONY: test-chaos
test-chaos: venv ## Break things on purpose and see that nothing is lost (10 minutes); tests in TESTS
	@$(TOOLS) test
	CAPK_CASES=thorough timeout 3600 pytest -q $(or $(TESTS),test/unit test/chaos)
