"""Policy gradients: environments, rollouts, and what adapts and betters a policy."""
