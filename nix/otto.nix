# The original's first module: otto alone, outside of the cluster that it repairs.
{ config, lib, ... }:

let
  cfg = config.zeta.otto;
in
{
  imports = [ ./ai-agents.nix ];

  options.zeta.otto = import ./agent-options.nix { inherit lib; } // {
    enable = lib.mkEnableOption "otto at a guard post of this machine";
  };

  config = lib.mkIf cfg.enable {
    zeta.aiAgents = {
      inherit (cfg) package user group home tickIntervalSec memoryMax cpuQuota restartSec;
      enable.otto = true;
    };
  };
}
