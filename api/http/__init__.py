"""HTTP as this server speaks it: exchanges, bodies, events. It knows no model and no resource."""
