// GatehouseNet
