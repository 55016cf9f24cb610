// GatehouseConfig
