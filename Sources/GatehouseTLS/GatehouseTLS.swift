// GatehouseTLS
