"""What an agent makes of the others it sees, slot by slot, before it acts: modules beside the policy."""
