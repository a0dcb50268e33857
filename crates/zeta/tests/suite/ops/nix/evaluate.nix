# Stands in for nixpkgs, of which a module needs little: evaluates one module with some settings,
# and refuses a setting that it has no option for, or of another type.
{ module, settings }:

let
  inherit (builtins) all attrNames concatStringsSep elem filter hasAttr isBool isString mapAttrs match
    stringLength substring;

  types = {
    bool = isBool;
    str = isString;
    package = isString;
    enum = values: value: elem value values;
    nullOr = type: value: value == null || type value;
    strMatching = pattern: value: isString value && match pattern value != null;
  };

  lib = {
    inherit types concatStringsSep;
    inherit (builtins) concatMap;
    mkOption = option: option;
    mkEnableOption = words: {
      type = types.bool;
      default = false;
      description = "Whether to enable ${words}.";
    };
    mkIf = condition: content: if condition then content else { };
    optional = condition: value: if condition then [ value ] else [ ];
    optionals = condition: values: if condition then values else [ ];
    optionalAttrs = condition: values: if condition then values else { };
    hasPrefix = prefix: text: substring 0 (stringLength prefix) text == prefix;
  };

  value = name: option:
    let
      given = settings.${name} or option.default or (throw "option ${name} has no value");
    in
    if option.type given then given else throw "option ${name} is of another type";

  unknown = filter (name: !hasAttr name made.options.zeta.credsRestore) (attrNames settings);

  made = import module {
    inherit lib;
    config.zeta.credsRestore =
      if unknown == [ ]
      then mapAttrs value made.options.zeta.credsRestore
      else throw "no such option: ${concatStringsSep " " unknown}";
  };

  described = option: isString option.description;
in
assert all (name: described made.options.zeta.credsRestore.${name})
  (attrNames made.options.zeta.credsRestore);
made.config // { options = attrNames made.options.zeta.credsRestore; }
