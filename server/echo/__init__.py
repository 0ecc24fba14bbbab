"""The conversation's own voice, told from everybody else's: what the loudspeaker brings into the microphone."""
