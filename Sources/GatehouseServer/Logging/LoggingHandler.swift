public import Logging

/// Brings swift-log's events to a ``LogOutput``, in the format and from the level that are in force there.
public struct EdgeLogHandler: LogHandler {
    public var metadata: Logger.Metadata = [:]
    public var metadataProvider: Logger.MetadataProvider?
    private let output: LogOutput
    /// Set where one logger was given a level of its own.
    private var ownLevel: Logger.Level?

    public init(output: LogOutput) {
        self.output = output
    }

    public var logLevel: Logger.Level {
        get { self.ownLevel ?? self.output.level }
        set { self.ownLevel = newValue }
    }

    public subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { self.metadata[key] }
        set { self.metadata[key] = newValue }
    }

    public func log(event: LogEvent) {
        var metadata = self.metadata
        if let provided = self.metadataProvider?.get() { metadata.merge(provided) { _, new in new } }
        if let own = event.metadata { metadata.merge(own) { _, new in new } }
        if let error = event.error { metadata["error"] = "\(error)" }
        self.output.write(
            LogFormat.line(
                self.output.format, time: LogFormat.now(), level: event.level, message: event.message.description,
                metadata: metadata))
    }
}
