# The state directory and the bus of the group zeta, made at each boot, and the user of the services:
# what units/tmpfiles.d and units/sysusers.d do on other systems.
{ config, lib, ... }:

let
  cfg = config.zeta.tree;
in
{
  options.zeta.tree = {
    enable = lib.mkOption {
      type = lib.types.bool;
      default = false;
      description = "Make the state directory of the group zeta at boot. Modules that need it do.";
    };
    user = lib.mkOption {
      type = lib.types.strMatching "[a-z_][a-z0-9_-]*";
      default = "zeta";
      description = "The user who owns /var/lib/zeta.";
    };
  };

  config = lib.mkIf cfg.enable {
    users.groups.zeta = { };
    users.users.zeta = {
      isSystemUser = lib.mkDefault true;
      description = lib.mkDefault "Zeta agents";
      group = lib.mkDefault "zeta";
      home = lib.mkDefault "/var/lib/zeta";
    };

    systemd.tmpfiles.rules = [
      "d /etc/zeta 0755 root root -"
      "d /tmp/zeta-cluster-state       2750 root zeta -"
      "d /tmp/zeta-cluster-state/nodes 3770 root zeta -"
      "d /tmp/zeta-cluster-state/cluster 2770 root zeta -"
      "d /tmp/zeta-bus                 2770 root zeta -"
      "C /tmp/zeta-cluster-state/local-node 0640 root zeta - /etc/zeta/cluster-node-id"
      # Old files are never removed here by their age.
      "x /tmp/zeta-cluster-state"
      "x /tmp/zeta-bus"
      "d /var/lib/zeta 0755 ${cfg.user} zeta -"
    ];
  };
}
