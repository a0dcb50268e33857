# The agents of the original's module zeta.aiAgents, with its options and defaults. Each one is the
# only persona of its model line at a guard post, and no post changes hands.
{ config, lib, ... }:

let
  cfg = config.zeta.aiAgents;

  agents = {
    otto = { line = "anthropic"; harness = "claude-code"; binary = "claude"; args = [ "--print" ]; };
    vera = { line = "openai"; harness = "codex"; binary = "codex"; args = [ "exec" ]; };
    lior = { line = "google-gemini"; harness = "gemini-cli"; binary = "gemini"; args = [ "-p" ]; };
    # Nobody has a program for these two.
    alexa = { line = "alibaba-qwen"; harness = "kiro"; binary = "kiro"; args = [ ]; };
    riven = { line = "xai-grok"; harness = "grok"; binary = "grok"; args = [ ]; };
  };
  placeholders = [ "alexa" "riven" ];
  on = builtins.filter (name: cfg.enable.${name}) (builtins.attrNames agents);
  arguments = agent: agent.args ++ [ "{prompt}" ];

  status = name:
    let agent = agents.${name}; in
    "${name} ${agent.line} ${lib.concatStringsSep " " ([ agent.binary ] ++ arguments agent)}\n";
in
{
  imports = [ ./guard-posts.nix ];

  options.zeta.aiAgents = import ./agent-options.nix { inherit lib; } // {
    enable = lib.mapAttrs (name: agent: lib.mkEnableOption "${name}, with ${agent.binary}") agents;
  };

  config = lib.mkIf (on != [ ]) {
    assertions = map (name: {
      assertion = !cfg.enable.${name};
      message = "zeta.aiAgents.enable.${name}: its program ${agents.${name}.binary} is a placeholder";
    }) placeholders;

    zeta.guardPosts = {
      enable = true;
      inherit (cfg) package user group home restartSec;
      count = builtins.length on;
      personas = lib.genAttrs on (name: {
        preferences = {
          modelLines = [ agents.${name}.line ];
          harnesses = [ agents.${name}.harness ];
        };
      });
      modelLineCatalog = builtins.listToAttrs (map (name: {
        name = agents.${name}.line;
        value.tiers.high = {
          inherit (agents.${name}) binary;
          invocationArgs = arguments agents.${name};
        };
      }) on);
      settings.ticks = {
        every = "${toString cfg.tickIntervalSec}s";
        memory_max = cfg.memoryMax;
        cpu_quota = cfg.cpuQuota;
      };
    };
    zeta.guardPostScheduler.rotation.enable = false;

    environment.etc."zeta-ai-agents-status.txt".text = lib.concatStringsSep "" (map status on);
  };
}
