"""People of the workspace: invite them, give them roles, shut them out."""
