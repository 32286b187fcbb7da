"""Why a command failed: what it printed in, reason, cause and remedy out; pure."""
