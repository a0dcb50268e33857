# What all services of zeta have in common, as in units/*.service: they see /tmp and the processes of
# others, and little else. Each service adds what it needs.
{
  UMask = "0007";
  StateDirectory = "zeta";
  ProtectSystem = "strict";
  ProtectHome = "yes";
  PrivateDevices = true;
  ProtectClock = true;
  ProtectControlGroups = true;
  ProtectHostname = true;
  ProtectKernelLogs = true;
  ProtectKernelModules = true;
  ProtectKernelTunables = true;
  NoNewPrivileges = true;
  CapabilityBoundingSet = "";
  AmbientCapabilities = "";
  LockPersonality = true;
  RemoveIPC = true;
  RestrictAddressFamilies = "AF_INET AF_INET6 AF_UNIX AF_NETLINK";
  RestrictNamespaces = "yes";
  RestrictRealtime = true;
  RestrictSUIDSGID = true;
  SystemCallArchitectures = "native";
  SystemCallFilter = [ "@system-service" "~@privileged @resources" ];
  SystemCallErrorNumber = "EPERM";
}
